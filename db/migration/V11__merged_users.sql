-- Ids that are one person: items of from_user are counted for into_user. Never a chain.
create table merged_user (
  from_user text primary key,
  into_user text not null
);
create index merged_user_into on merged_user (into_user);
