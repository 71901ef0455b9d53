import { readEvents } from './lib/sse';

/** The service's REST resources, typed. Errors are RFC 9457 problems and become {@link ApiError}. */

export type Mode = 'familiar' | 'unfamiliar' | 'lapsed';
export type Personalization = 'on' | 'history' | 'off';
export type FieldValue = string | number | boolean | (string | number)[];

export interface Why {
  entityId: string;
  label: string;
  mode: Mode;
  events: string[];
}

export interface Hit {
  id: string;
  title: string;
  snippet: string;
  url: string | null;
  image: string | null;
  fields: Record<string, FieldValue>;
  score: number;
  rank: number;
  retrievalRank: number;
  why: Why[];
}

export interface FacetCount {
  value: string;
  count: number;
}

export interface SearchAnswer {
  queryId: string;
  total: number;
  hits: Hit[];
  facets?: Record<string, FacetCount[]>;
  timings: { retrieveMs: number; rankMs: number; totalMs: number };
  ranking: { model: string | null; attention: string | null; documents: number; warmDocuments: number };
  degraded: string[];
}

export interface Suggestion {
  text: string;
  mode: Mode | null;
  rationale: string;
  entities: { id: string; label: string }[];
  events: string[];
}

export interface SuggestionAnswer {
  suggestions: Suggestion[];
  degraded: string[];
}

export interface SearchRequest {
  query: string;
  userId?: string;
  sessionId?: string;
  from?: number;
  size: number;
  personalization: Personalization;
  filters?: Record<string, string[] | { gte?: number; lte?: number }>;
  facets?: string[];
}

export interface Completion {
  text: string;
  source: 'own' | 'popular' | 'entity';
  type: string | null;
}

export interface Document {
  id: string;
  title: string;
  text: string;
  url: string | null;
  image: string | null;
  fields: Record<string, FieldValue>;
}

/** What the stream of a search sends, in order; an error ends it. */
export type SearchEvent =
  | { type: 'retrieved' | 'ranked'; answer: SearchAnswer }
  | { type: 'suggestions'; answer: SuggestionAnswer }
  | { type: 'done'; degraded: string[] };

/** A request that failed, with what the service said about it. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

const UNREACHABLE = 'The service does not answer. Check that it is running, then try again.';

function messageOf(status: number, detail: unknown): string {
  if (status === 401 || status === 403) {
    return 'This service asks for a token that the pages do not have. Use its API, or run it in local mode.';
  }
  if (typeof detail === 'string' && detail !== '') {
    return detail;
  }
  return status >= 500 ? 'Something went wrong in the service; its log has the details.' : `Request refused (${status}).`;
}

async function send(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') {
      throw error;
    }
    throw new ApiError(0, UNREACHABLE);
  }
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { detail?: unknown };
    const retryAfter = Number(response.headers.get('Retry-After'));
    throw new ApiError(response.status, messageOf(response.status, problem.detail), retryAfter || null);
  }
  return response;
}

async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await send(path, { signal })).json()) as T;
}

async function sendJson<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const response = await send(path, {
    method,
    signal,
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

function query(values: Record<string, string | number | undefined>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== '') {
      params.set(name, String(value));
    }
  }
  const text = params.toString();
  return text === '' ? '' : '?' + text;
}

const part = encodeURIComponent;

/** Whether there is anything to search; no model is asked. */
export const hasDocuments = async (signal?: AbortSignal) => {
  const parameters = query({ q: ' ', size: 1, ranking: 'retrieval', retrieval: 'lexical', personalization: 'off' });
  return (await get<SearchAnswer>(`/api/v1/search${parameters}`, signal)).total > 0;
};

export const search = (request: SearchRequest, signal?: AbortSignal) =>
  sendJson<SearchAnswer>('POST', '/api/v1/search', request, signal);

export async function* searchStream(request: SearchRequest, signal: AbortSignal): AsyncGenerator<SearchEvent> {
  const response = await send('/api/v1/search/stream', {
    method: 'POST',
    signal,
    headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
    body: JSON.stringify(request),
  });
  let ended = false;
  try {
    for await (const { event, data } of readEvents(response.body!)) {
      const value = JSON.parse(data) as unknown;
      if (event === 'retrieved' || event === 'ranked') {
        yield { type: event, answer: value as SearchAnswer };
      } else if (event === 'suggestions') {
        yield { type: event, answer: value as SuggestionAnswer };
      } else if (event === 'done') {
        ended = true;
        yield { type: event, degraded: (value as { degraded?: string[] }).degraded ?? [] };
      } else if (event === 'error') {
        const problem = value as { status: number; detail: string };
        throw new ApiError(problem.status, messageOf(problem.status, problem.detail));
      }
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) {
      throw error;
    }
    throw new ApiError(0, UNREACHABLE);
  }
  if (!ended && !signal.aborted) {
    throw new ApiError(0, 'The answer was cut off before it was complete. Search again.');
  }
}

export async function complete(q: string, userId: string | undefined, signal: AbortSignal): Promise<Completion[]> {
  const answer = await get<{ completions: Completion[] }>(`/api/v1/complete${query({ q, userId, size: 8 })}`, signal);
  return answer.completions;
}

export const suggest = (
  request: { userId?: string; sessionId?: string; query?: string; documentId?: string; size: number; modes?: Mode[] },
  signal?: AbortSignal,
) => sendJson<SuggestionAnswer>('POST', '/api/v1/suggestions', request, signal);

export const document = (id: string, signal?: AbortSignal) => get<Document>(`/api/v1/documents/${part(id)}`, signal);

/** Tells the log that a hit was opened; User Behavior Insights 1.3. */
export function postClick(click: {
  queryId: string;
  userId: string;
  sessionId: string;
  eventId: string;
  documentId: string;
  title: string;
  ordinal: number;
}): Promise<unknown> {
  const event = {
    application: 'attune-pages',
    action_name: 'click',
    event_id: click.eventId,
    query_id: click.queryId,
    client_id: click.userId,
    user_id: click.userId,
    session_id: click.sessionId,
    timestamp: new Date().toISOString(),
    event_attributes: {
      object: { object_id: click.documentId, object_id_field: 'id', title: click.title },
      position: { ordinal: click.ordinal },
    },
  };
  return sendJson('POST', '/api/v1/events', [event]);
}

// A user's own store

export interface StoredEntity {
  entityId: string;
  label: string;
  type: string;
  count: number;
  firstSeen: string;
  lastSeen: string;
  mode: Mode;
}

export interface Page<T> {
  items: T[];
  total: number;
  page: number;
  size: number;
}

export interface EntityPage extends Page<StoredEntity> {
  /** Entities that the user does not want to be learned. */
  forgotten: { entityId: string; label: string; forgottenAt: string }[];
}

/** A query or event behind an entity. */
export interface Evidence {
  eventId: string;
  kind: 'query' | 'event';
  /** `query`, `click`, `page` or another action. */
  source: string;
  timestamp: string;
  text: string | null;
  title: string | null;
  objectId: string | null;
}

export interface Settings {
  personalization: 'on' | 'off';
  learning: 'on' | 'paused';
  retentionDays: number | null;
  sensitive: string[];
  /** Holds while `retentionDays` is not set; only read. */
  defaultRetentionDays?: number | null;
}

export interface Receipt {
  receiptId: string;
  erasedAt: string;
  counts: Record<string, number>;
  remaining: number;
}

const user = (userId: string) => `/api/v1/users/${part(userId)}`;

export const entities = (
  userId: string,
  filter: { mode?: string; q?: string; page: number; size?: number },
  signal?: AbortSignal,
) => get<EntityPage>(`${user(userId)}/entities${query(filter)}`, signal);

export const entityEvents = async (userId: string, entityId: string, signal?: AbortSignal): Promise<Evidence[]> => {
  const answer = await get<Page<Evidence>>(`${user(userId)}/entities/${part(entityId)}/events`, signal);
  return answer.items;
};

export const forget = (userId: string, entityId: string) =>
  sendJson<unknown>('DELETE', `${user(userId)}/entities/${part(entityId)}`);

export const learnAgain = (userId: string, entityId: string) =>
  sendJson<unknown>('PUT', `${user(userId)}/entities/${part(entityId)}`);

export const settings = (userId: string, signal?: AbortSignal) => get<Settings>(`${user(userId)}/settings`, signal);

export const saveSettings = (userId: string, value: Settings) =>
  sendJson<Settings>('PUT', `${user(userId)}/settings`, {
    personalization: value.personalization,
    learning: value.learning,
    retentionDays: value.retentionDays,
    sensitive: value.sensitive,
  });

export const exportUrl = (userId: string) => `${user(userId)}/export`;

export const erase = (userId: string) => sendJson<Receipt>('DELETE', user(userId));

// Administration

export interface AdminUser {
  userId: string;
  simulated: boolean;
  queries: number;
  events: number;
  entities: number;
  firstSeen: string | null;
  lastSeen: string | null;
}

export const adminUsers = (
  filter: { sort?: string; q?: string; page: number; size: number },
  signal?: AbortSignal,
) => get<Page<AdminUser>>(`/api/v1/admin/users${query(filter)}`, signal);

export interface Job {
  id: string;
  label: string;
  state: 'off' | 'waiting' | 'running' | 'done' | 'failed';
  part: string | null;
  done: number;
  total: number;
  perSecond: number | null;
  startedAt: string | null;
  finishedAt: string | null;
  error: string | null;
}

export interface Overview {
  version: string | null;
  startedAt: string;
  documents: number;
  embeddedDocuments: number;
  /** In the knowledge base. */
  entities: number;
  users?: number;
  queries?: number;
  events?: number;
  model: ModelState;
  modelName: string | null;
  modelMessage: string | null;
  /** Stored for ranking, in memory or on disk. */
  readDocuments: number;
  readMemoryBytes: number;
  readDiskBytes: number;
  heapBytes: number;
  databaseBytes: number;
  jobs: Job[];
}

export type ModelState = 'loading' | 'ready' | 'missing' | 'broken';

export interface ModelView {
  state: ModelState;
  source: string;
  name: string | null;
  backend: string | null;
  message: string | null;
  shape: Record<string, unknown> | null;
  fingerprint: string | null;
  adapters: { role: string; source: string; active: boolean; message: string | null }[];
}

export const overview = (signal?: AbortSignal) => get<Overview>('/api/v1/admin/overview', signal);
export const jobs = (signal?: AbortSignal) => get<Job[]>('/api/v1/admin/jobs', signal);
export const startJob = (id: string) => sendJson<Job[]>('POST', `/api/v1/admin/jobs/${part(id)}`);
export const models = (signal?: AbortSignal) => get<ModelView[]>('/api/v1/admin/models', signal);

/** A block of a prompt. */
export interface Block {
  text: string;
  tokens: number;
}

/** The prompt that ranked, and where the attention went. */
export interface RankingPrompt {
  instruction: Block;
  documents: (Block & {
    id: string | null;
    title: string;
    keptTokens: number;
    warm: boolean;
    /** Sums to 1 over the documents read; null for one that was not read. */
    attention: number | null;
  })[];
  last: Block;
  signals: string[];
  layer: number;
  tokens: number;
}

export interface Simulated {
  search: SearchAnswer;
  rankingPrompt: RankingPrompt | null;
  suggestions: SuggestionAnswer;
  suggestionPrompt: {
    shared: string;
    continuations: (Block & { entity: { id: string; label: string } })[];
  } | null;
}

export interface Simulation {
  asUser: Simulated;
  withoutUser: Simulated;
}

export const simulate = (request: { query: string; userId: string; size: number }) =>
  sendJson<Simulation>('POST', '/api/v1/admin/simulate', request);

export interface KnowledgeBase {
  entities: number;
  aliases: number;
  neighbours: number;
  byType: Record<string, number>;
  bySource: Record<string, number>;
  bytes: number;
}

export const knowledgeBase = (signal?: AbortSignal) => get<KnowledgeBase>('/api/v1/admin/kb', signal);

export const removeEntity = (entityId: string) =>
  sendJson<unknown>('DELETE', `/api/v1/admin/kb/entities/${part(entityId)}`);

export const removeSource = (source: string) =>
  sendJson<{ removed: number }>('DELETE', `/api/v1/admin/kb/sources/${part(source)}`);

/** A name whose meaning is fixed; without an entity it means nothing, without a label its entity is gone. */
export interface Override {
  alias: string;
  entityId: string | null;
  label: string | null;
  type: string | null;
}

const override = (alias: string) =>
  // A path holds neither of these, and the linker compares names without them.
  `/api/v1/admin/linker/overrides/${part(alias.replace(/[/\\;%]/g, ' '))}`;

export const overrides = (filter: { q?: string; page: number; size: number }, signal?: AbortSignal) =>
  get<Page<Override>>(`/api/v1/admin/linker/overrides${query(filter)}`, signal);

export const putOverride = (alias: string, entityId: string | null) =>
  sendJson<Override>('PUT', override(alias), { entityId });

export const removeOverride = (alias: string) => sendJson<unknown>('DELETE', override(alias));

/** Searches of a day, as far as the log tells how they went. */
export interface DayQuality {
  day: string;
  queries: number;
  clickedQueries: number;
  meanReciprocalRank?: number | null;
}

/** A table of figures that was measured with test collections. */
export interface MeasuredResult {
  name: string;
  title: string;
  command: string;
  commit: string;
  date: string;
  machine: string;
  notes?: string | null;
  keys: string[];
  measures: { name: string; title: string; tolerance?: number | null }[];
  rows: { keys: Record<string, string>; figures: Record<string, string> }[];
}

export const quality = (signal?: AbortSignal) =>
  get<{ days: DayQuality[]; simulated: DayQuality[] }>('/api/v1/admin/quality', signal);
export const measuredResults = (signal?: AbortSignal) =>
  get<MeasuredResult[]>('/api/v1/admin/quality/results', signal);
export const adminUser = (userId: string, signal?: AbortSignal) =>
  get<AdminUser>(`/api/v1/admin/users/${part(userId)}`, signal);
