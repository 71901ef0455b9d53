-- Ranges: V10-19 search log, V20-29 entities, V30-39 knowledge stores, V40-49 retrieval and ranking,
-- V50-59 administration, demo and security.
create table service_info (
  key text primary key,
  value text not null
);
comment on table service_info is 'Facts about this database as a whole, for example how far the demo was loaded.';
