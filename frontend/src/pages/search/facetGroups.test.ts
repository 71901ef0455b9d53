import { expect, test } from 'vitest';
import { groupFacets } from './facetGroups';

test('joins spellings that differ in case, and sorts by the sum', () => {
  const facets = [
    { value: 'horror', count: 5 },
    { value: 'action', count: 4 },
    { value: 'Action', count: 3 },
  ];
  expect(groupFacets(facets, [])).toEqual([
    { label: 'Action', values: ['action', 'Action'], count: 7 },
    { label: 'Horror', values: ['horror'], count: 5 },
  ]);
});

test('keeps a chosen value without matches', () => {
  expect(groupFacets([], ['Drama'])).toEqual([{ label: 'Drama', values: ['Drama'], count: 0 }]);
});
