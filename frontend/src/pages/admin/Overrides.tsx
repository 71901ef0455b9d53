import { Button, TextInput } from '@mantine/core';
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import * as api from '../../api';
import { FilterInput } from '../../components/FilterInput';
import { Pager } from '../../components/Pager';
import { EmptyState, ErrorNotice, Skeletons } from '../../components/Parts';
import { useListFilter } from '../../lib/useListFilter';
import { count } from '../../lib/words';

const SIZE = 50;

/** Names whose meaning is fixed by hand. */
export function Overrides() {
  const queries = useQueryClient();
  const filter = useListFilter();
  const { q, page, setPage } = filter;
  const key = ['admin', 'overrides'];
  const overrides = useQuery({
    queryKey: [...key, q, page],
    queryFn: ({ signal }) => api.overrides({ q, page, size: SIZE }, signal),
    placeholderData: keepPreviousData,
  });
  const changed = () => void queries.invalidateQueries({ queryKey: key });
  const remove = useMutation({ mutationFn: api.removeOverride, onSuccess: changed });
  return (
    <section className="overrides" aria-labelledby="overrides-title">
      <h2 id="overrides-title">Fixed names</h2>
      <p className="dim">
        What a name means, for everybody and whatever the linker would say. Holds for what is linked from now on; stores
        keep what was linked before until the job that rebuilds them has run.
      </p>
      <Fix onFixed={changed} />
      <div className="toolbar">
        <FilterInput label="Filter by name" filter={filter} maxLength={200} />
        <p className="dim small" role="status">
          {overrides.data && count(overrides.data.total, 'fixed name')}
        </p>
      </div>
      {remove.isError && <ErrorNotice error={remove.error} />}
      {overrides.isPending && <Skeletons rows={3} className="skeleton-entity" />}
      {overrides.isError && <ErrorNotice error={overrides.error} retry={() => void overrides.refetch()} />}
      {overrides.data?.items.length === 0 && (
        <EmptyState title={q === '' ? 'No name is fixed' : 'No fixed name like this'} />
      )}
      {overrides.data && overrides.data.items.length > 0 && (
        <div className="table-wrap" tabIndex={0} role="region" aria-label="Table: fixed names">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Means</th>
                <th scope="col">Entity</th>
                <th scope="col">
                  <span className="sr-only">Change</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {overrides.data.items.map((override) => (
                <tr key={override.alias}>
                  <th scope="row">{override.alias}</th>
                  <td>
                    {override.label ?? (override.entityId === null ? 'nothing' : 'nothing: the entity is gone')}
                    {override.type && <span className="tag">{override.type}</span>}
                  </td>
                  <td className="dim break">{override.entityId}</td>
                  <td>
                    <button
                      type="button"
                      className="link-button"
                      disabled={remove.isPending}
                      onClick={() => remove.mutate(override.alias)}
                    >
                      Leave to the linker <span className="sr-only">: {override.alias}</span>
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {overrides.data && <Pager page={page} size={SIZE} total={overrides.data.total} onChange={setPage} />}
    </section>
  );
}

/** The form that fixes a name. */
function Fix({ onFixed }: { onFixed: () => void }) {
  const [alias, setAlias] = useState('');
  const [entity, setEntity] = useState('');
  const fix = useMutation({
    mutationFn: () => api.putOverride(alias.trim(), entity.trim() === '' ? null : entity.trim()),
    onSuccess: () => {
      setAlias('');
      setEntity('');
      onFixed();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (alias.trim() !== '') {
      fix.mutate();
    }
  };
  return (
    <>
      <form className="toolbar" onSubmit={submit}>
        <TextInput
          label="Name"
          value={alias}
          maxLength={200}
          required
          withAsterisk={false}
          onChange={(event) => setAlias(event.currentTarget.value)}
          className="toolbar-text"
        />
        <TextInput
          label="Id of its entity, empty for none"
          value={entity}
          maxLength={200}
          onChange={(event) => setEntity(event.currentTarget.value)}
          className="toolbar-text"
        />
        <Button type="submit" variant="default" loading={fix.isPending} className="toolbar-button">
          Fix
        </Button>
      </form>
      <p className="dim small" role="status">
        {fix.isSuccess &&
          `“${fix.data.alias}” means ${
            fix.data.label === null ? 'nothing' : `${fix.data.label} (${fix.data.type})`
          } from now on.`}
      </p>
      {fix.isError && <ErrorNotice error={fix.error} />}
    </>
  );
}
