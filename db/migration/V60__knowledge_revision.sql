create table knowledge_revision (
  id uuid not null
);
comment on table knowledge_revision is
  'One row: changes with every change of the knowledge base, so that an image of it can tell whether it is current.';
insert into knowledge_revision (id) values (gen_random_uuid());
