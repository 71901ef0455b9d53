import { useEffect, useReducer } from 'react';
import * as api from '../../api';

/** A search as far as its stream has come. */
export interface SearchState {
  phase: 'idle' | 'loading' | 'retrieved' | 'ranked' | 'done' | 'failed';
  /** The newest answer; while a new search loads, that of the one before. */
  answer: api.SearchAnswer | null;
  suggestions: api.SuggestionAnswer | null;
  /** The search whose answer this is. */
  key: string | null;
  error: unknown;
}

export type SearchAction =
  | { type: 'start' | 'idle' }
  | { type: 'restore'; state: SearchState }
  | { type: 'event'; key: string; event: api.SearchEvent }
  | { type: 'fail'; error: unknown };

export const IDLE: SearchState = { phase: 'idle', answer: null, suggestions: null, key: null, error: null };

export function reduce(state: SearchState, action: SearchAction): SearchState {
  switch (action.type) {
    case 'idle':
      return IDLE;
    case 'start':
      return { ...state, phase: 'loading', suggestions: null, error: null };
    case 'restore':
      return action.state;
    case 'fail':
      // What is on the screen stays: an order without ranking is better than nothing.
      return { ...state, phase: 'failed', error: action.error };
    case 'event':
      switch (action.event.type) {
        case 'retrieved':
        case 'ranked':
          return { ...state, phase: action.event.type, answer: action.event.answer, key: action.key };
        case 'suggestions':
          return { ...state, suggestions: action.event.answer };
        case 'done':
          return { ...state, phase: 'done' };
      }
  }
}

const KEPT = 20;
const finished = new Map<string, SearchState>();

/** Forgets answers kept for the way back; call it when what the service knows of somebody has changed. */
export function forgetSearches(): void {
  finished.clear();
}

/** Searches whenever the request changes; going back shows the answer that was there, without a new search. */
export function useSearchStream(request: api.SearchRequest | null, attempt: number): SearchState {
  const [state, dispatch] = useReducer(reduce, IDLE);
  const key = request === null ? null : JSON.stringify([request, attempt]);

  useEffect(() => {
    if (key === null) {
      dispatch({ type: 'idle' });
      return;
    }
    const kept = finished.get(key);
    if (kept) {
      dispatch({ type: 'restore', state: kept });
      return;
    }
    const abort = new AbortController();
    const run = async () => {
      let now: SearchState = IDLE;
      dispatch({ type: 'start' });
      try {
        const [wanted] = JSON.parse(key) as [api.SearchRequest, number];
        for await (const event of api.searchStream(wanted, abort.signal)) {
          if (abort.signal.aborted) {
            return;
          }
          const action = { type: 'event', key, event } as const;
          now = reduce(now, action);
          dispatch(action);
        }
        finished.set(key, now);
        if (finished.size > KEPT) {
          finished.delete(finished.keys().next().value!);
        }
      } catch (error) {
        if (!abort.signal.aborted) {
          dispatch({ type: 'fail', error });
        }
      }
    };
    void run();
    return () => abort.abort();
  }, [key]);

  return state;
}
