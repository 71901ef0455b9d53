import { expect, test } from 'vitest';
import { relativeTime } from './time';

const now = new Date('2026-05-10T12:00:00Z');
const before = (seconds: number) => new Date(now.getTime() - seconds * 1000);

test.each([
  [5, 'just now'],
  [90, '1 minute ago'],
  [3 * 3600, '3 hours ago'],
  [26 * 3600, '1 day ago'],
  [13 * 24 * 3600, '1 week ago'],
  [21 * 24 * 3600, '3 weeks ago'],
  [400 * 24 * 3600, '1 year ago'],
])('%i seconds ago is %s', (seconds, words) => {
  expect(relativeTime(before(seconds), now)).toBe(words);
});
