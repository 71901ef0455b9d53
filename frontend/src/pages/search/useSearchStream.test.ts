import { expect, test } from 'vitest';
import type { Hit, SearchAnswer } from '../../api';
import { IDLE, reduce, type SearchAction } from './useSearchStream';

const answer = (...ids: string[]): SearchAnswer => ({
  queryId: 'q1',
  total: ids.length,
  hits: ids.map((id, i) => ({ id, rank: i + 1 }) as Hit),
  timings: { retrieveMs: 1, rankMs: 2, totalMs: 3 },
  ranking: { model: null, attention: null, documents: 0, warmDocuments: 0 },
  degraded: [],
});

const run = (...actions: SearchAction[]) => actions.reduce(reduce, IDLE);

test('the ranked answer replaces the retrieved one, suggestions join it', () => {
  const suggestions = { suggestions: [], degraded: ['model'] };
  const state = run(
    { type: 'start' },
    { type: 'event', key: 'k', event: { type: 'retrieved', answer: answer('a', 'b') } },
    { type: 'event', key: 'k', event: { type: 'ranked', answer: answer('b', 'a') } },
    { type: 'event', key: 'k', event: { type: 'suggestions', answer: suggestions } },
    { type: 'event', key: 'k', event: { type: 'done', degraded: [] } },
  );
  expect(state).toEqual({ phase: 'done', answer: answer('b', 'a'), suggestions, key: 'k', error: null });
});

test('a new search keeps the old list on the screen, but not its suggestions', () => {
  const state = run(
    { type: 'event', key: 'k', event: { type: 'ranked', answer: answer('a') } },
    { type: 'event', key: 'k', event: { type: 'suggestions', answer: { suggestions: [], degraded: [] } } },
    { type: 'start' },
  );
  expect(state.phase).toBe('loading');
  expect(state.answer?.hits.map((hit) => hit.id)).toEqual(['a']);
  expect(state.suggestions).toBeNull();
});

test('a failure after the first list leaves the list', () => {
  const error = new Error('gone');
  const state = run(
    { type: 'event', key: 'k', event: { type: 'retrieved', answer: answer('a') } },
    { type: 'fail', error },
  );
  expect(state.phase).toBe('failed');
  expect(state.answer?.hits).toHaveLength(1);
  expect(state.error).toBe(error);
});
