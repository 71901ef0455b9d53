create table audit_entry (
  id bigint generated always as identity primary key,
  at timestamptz not null,
  actor text not null,
  action text not null,
  subject text,
  reason text,
  status int
);
create index audit_entry_subject on audit_entry (subject);
comment on table audit_entry is 'Requests that change data of users, the knowledge base or the service.';
comment on column audit_entry.subject is 'User or entity concerned; replaced when that user is erased.';
comment on column audit_entry.status is 'HTTP status of the answer; null when the service ended before it answered.';
