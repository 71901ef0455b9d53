create sequence user_store_version;

create table user_store (
  user_id text primary key,
  version bigint not null default nextval('user_store_version'),
  personalization boolean not null default true,
  learning boolean not null default true,
  retention_days int,
  sensitive text[] not null default '{}'
);
comment on table user_store is 'One row per user: settings, and the lock that writers of the store take.';
comment on column user_store.version is 'Changes with every write to the store, never repeats: readers cache by it.';

create table user_pause (
  user_id text not null references user_store on delete cascade,
  paused_at timestamptz not null,
  resumed_at timestamptz,
  primary key (user_id, paused_at)
);
comment on table user_pause is 'Nothing that happened in these times is learned, whenever it arrives.';

create table user_forgotten (
  user_id text not null references user_store on delete cascade,
  entity_id text not null,
  forgotten_at timestamptz not null,
  lifted_at timestamptz,
  primary key (user_id, entity_id)
);
comment on column user_forgotten.lifted_at is
  'When the user allowed the entity again: what happened before stays forgotten. Null while forgotten.';

create table user_evidence (
  user_id text not null references user_store on delete cascade,
  entity_id text not null,
  kind text not null check (kind in ('query', 'event')),
  event_id text not null,
  source text not null,
  context_id text not null,
  weight double precision not null,
  at timestamptz not null,
  primary key (user_id, entity_id, kind, event_id)
);
create index user_evidence_event on user_evidence (user_id, kind, event_id);
create index user_evidence_context on user_evidence (user_id, context_id);
create index user_evidence_time on user_evidence (user_id, at);
comment on table user_evidence is 'Which query or event speaks for which entity; each counted once.';
comment on column user_evidence.context_id is 'The query that an event followed, else the item itself: what was met together.';

create table user_entity (
  user_id text not null references user_store on delete cascade,
  entity_id text not null,
  count int not null,
  first_seen timestamptz not null,
  last_seen timestamptz not null,
  sources text[] not null,
  interest double precision not null,
  primary key (user_id, entity_id)
);
create index user_entity_by_entity on user_entity (entity_id);
comment on table user_entity is 'Computed from user_evidence.';
comment on column user_entity.interest is
  'Sum of weights, each doubled per half-life since 2020-01-01: comparable at any time without an update.';

create table erasure (
  receipt_id uuid primary key,
  erased_at timestamptz not null,
  counts jsonb not null,
  remaining bigint not null
);
comment on table erasure is 'Receipts. They do not say who was erased.';
