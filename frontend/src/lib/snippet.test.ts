import { expect, test } from 'vitest';
import { parseSnippet } from './snippet';

test('splits matches from the text around them', () => {
  expect(parseSnippet('a <mark>heist</mark> in Rome')).toEqual([
    { text: 'a ', match: false },
    { text: 'heist', match: true },
    { text: ' in Rome', match: false },
  ]);
});

test('decodes what the server escaped, once', () => {
  expect(parseSnippet('Tom &amp; Jerry &#39;95 &lt;b&gt; &amp;lt;')).toEqual([
    { text: "Tom & Jerry '95 <b> &lt;", match: false },
  ]);
});

test('keeps any other markup as text', () => {
  expect(parseSnippet('<img src=x onerror=alert(1)>')).toEqual([
    { text: '<img src=x onerror=alert(1)>', match: false },
  ]);
});

test('survives unbalanced marks and numbers that are no character', () => {
  expect(parseSnippet('</mark>a<mark>b &#9999999;')).toEqual([
    { text: 'a', match: false },
    { text: 'b &#9999999;', match: true },
  ]);
});
