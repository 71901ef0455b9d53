import { expect, test } from 'vitest';
import { parseSearch, safeHref, stringifySearch } from './url';

test('search parameters survive the round trip as text', () => {
  const values = { q: '1984 & "more" +1', genre: ['Science Fiction', 'Drama'], user: 'ana' };
  expect(parseSearch(stringifySearch(values))).toEqual(values);
  expect(stringifySearch({ q: '', user: undefined })).toBe('');
});

test('only web links are followed', () => {
  expect(safeHref('https://example.org/a')).toBe('https://example.org/a');
  expect(safeHref('javascript:alert(1)')).toBeUndefined();
  expect(safeHref('data:text/html,x')).toBeUndefined();
  expect(safeHref('no link')).toBeUndefined();
});
