import { expect, test } from 'vitest';
import { bytes, count, degradation, initials, list, number, worthSaying } from './words';

test('counts in words', () => {
  expect(count(1, 'entity', 'entities')).toBe('1 entity');
  expect(count(12957, 'query', 'queries')).toBe('12,957 queries');
});

test('numbers, large and small', () => {
  expect(number(12957)).toBe('12,957');
  expect(number(0)).toBe('0');
  expect(number(0.00001)).toBe('0.00001');
});

test('lists in words', () => {
  expect(list([])).toBe('');
  expect(list(['a'])).toBe('a');
  expect(list(['a', 'b', 'c'])).toBe('a, b and c');
});

test.each([
  ['The Lord of the Rings', 'LR'],
  ['Up', 'U'],
  ['...', ''],
  ['Æon Flux', 'ÆF'],
  ['A', 'A'],
  ['𝒳-Men', '𝒳M'],
])('initials of %s', (title, letters) => {
  expect(initials(title)).toBe(letters);
});

test('sizes', () => {
  expect(bytes(999)).toBe('999 B');
  expect(bytes(1_430_000_000)).toBe('1.4 GB');
});

test('says what is missing', () => {
  expect(degradation('ranking', { model: null })).toContain('not ready in time');
  expect(degradation('ranking', { model: 'SmolLM2' })).toContain('ran out of time');
  expect(degradation('something new', { model: null })).toContain('something new');
  expect(worthSaying(['context', 'model'], 0)).toEqual(['model']);
  expect(worthSaying(['context', 'model'], 2)).toEqual(['context', 'model']);
});
