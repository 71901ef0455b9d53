-- Search log: one row for each UBI query and each UBI event.
-- user_id is who the item is counted for, resolved from given_user_id, the query that an event follows, and client_id.
-- precedence orders records that share an id; the smallest is kept, so that the order of arrival does not matter.
create table logged_query (
  query_id text primary key,
  user_id text,
  given_user_id text,
  client_id text,
  session_id text,
  session_given boolean not null,
  text text not null,
  text_key text not null,
  asked_at timestamptz not null,
  result_ids text[] not null,
  application text,
  simulated boolean not null,
  precedence text collate "C" not null
);
comment on column logged_query.session_id is 'Given by the client, or ~ and the start of the session when derived from silence';
comment on column logged_query.text_key is 'Lower case, single spaces, at most 200 characters: for prefix completion';
create index logged_query_user on logged_query (user_id, asked_at desc);
create index logged_query_session on logged_query (user_id, session_id);
create index logged_query_prefix on logged_query (text_key text_pattern_ops) include (user_id);

create table logged_event (
  event_id text primary key,
  action text not null,
  visit boolean not null,
  user_id text,
  given_user_id text,
  client_id text,
  session_id text,
  given_session_id text,
  session_given boolean not null,
  query_id text,
  occurred_at timestamptz not null,
  object_id text,
  object_title text,
  object_text text,
  object_url text,
  position integer,
  application text,
  simulated boolean not null,
  precedence text collate "C" not null
);
comment on column logged_event.query_id is 'May name a query that has not arrived, hence no foreign key';
comment on column logged_event.visit is 'The user turned to the object, rather than being shown it';
create index logged_event_user on logged_event (user_id, occurred_at desc);
create index logged_event_session on logged_event (user_id, session_id);
create index logged_event_query on logged_event (query_id);

create view log_step as
  select 'query' as kind, query_id as id, user_id, session_id, session_given, asked_at as at, simulated
  from logged_query
  union all
  select 'event', event_id, user_id, session_id, session_given, occurred_at, simulated
  from logged_event;

create table ingestion_day (
  day date primary key,
  accepted bigint not null,
  duplicates bigint not null,
  rejected bigint not null
);
create table ingestion_error (
  id bigint generated always as identity primary key,
  occurred_at timestamptz not null,
  item_index bigint not null,
  reason text not null
);
