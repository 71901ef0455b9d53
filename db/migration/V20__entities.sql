create table entity (
  id text primary key,
  source text not null,
  label text not null,
  type text not null,
  description text,
  prior double precision not null
);
comment on table entity is 'Curated entities. Those derived from documents are computed from document_entity.';

create table entity_alias (
  entity_id text not null references entity on delete cascade,
  position int not null,
  alias text not null,
  primary key (entity_id, position)
);

create table entity_neighbour (
  entity_id text not null references entity on delete cascade,
  position int not null,
  neighbour_id text not null,
  relation text not null,
  primary key (entity_id, position)
);
comment on column entity_neighbour.position is 'Rank: the strongest neighbour comes first. The neighbour need not exist.';

create table linker_override (
  alias text primary key,
  entity_id text
);
comment on table linker_override is 'What a name means, whatever the linker would say; without an entity it is never linked.';
comment on column linker_override.alias is 'Normalised as the linker compares names.';

create table document_entity (
  document_id text not null,
  position int not null,
  entity_id text not null,
  main boolean not null,
  relation text not null,
  type text not null,
  label text not null,
  name_key text not null,
  description text,
  popularity double precision,
  primary key (document_id, position)
);
create index document_entity_by_entity on document_entity (entity_id, label);
create index document_entity_by_name on document_entity (name_key) where main;
comment on table document_entity is 'What the fields of each document name. The main row stands for the document itself.';
