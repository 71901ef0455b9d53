import { Button, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useRef, useState, type FormEvent } from 'react';
import * as api from '../../api';
import { RemovalDialog } from '../../components/RemovalDialog';
import { count, number } from '../../lib/words';

/** What documents name follows from them: it cannot be removed here. */
const DOCUMENTS = 'documents';

/** What is to be removed: everything of a source, or one entity. */
type Target = { source: string; entities: number } | { entityId: string };

/** Removes it, and says so. */
async function remove(target: Target): Promise<string> {
  if ('source' in target) {
    const { removed } = await api.removeSource(target.source);
    return `${count(removed, 'entity', 'entities')} of ${target.source} removed.`;
  }
  await api.removeEntity(target.entityId);
  return `${target.entityId} removed.`;
}

/** Where entities come from, with a way to remove what was loaded. */
export function Sources({ bySource }: { bySource: Record<string, number> }) {
  const queries = useQueryClient();
  const [target, setTarget] = useState<Target | null>(null);
  const [asking, setAsking] = useState(false);
  const [entity, setEntity] = useState('');
  const [done, setDone] = useState('');
  const heading = useRef<HTMLHeadingElement>(null);
  const removed = (words: string) => {
    setDone(words);
    setEntity('');
    void queries.invalidateQueries({ queryKey: ['admin'] });
  };
  const ask = (what: Target) => {
    setDone('');
    setTarget(what);
    setAsking(true);
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (entity.trim() !== '') {
      ask({ entityId: entity.trim() });
    }
  };
  const sources = Object.entries(bySource).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  return (
    <section className="card" aria-label="By source">
      <h2 ref={heading} tabIndex={-1}>
        By source
      </h2>
      {sources.length === 0 && <p className="dim">Nothing is loaded, and no document names an entity.</p>}
      <dl className="fields">
        {sources.map(([source, entities]) => (
          <div key={source}>
            <dt className="break">{source}</dt>
            <dd className="source-count">
              {number(entities)}
              {source !== DOCUMENTS && (
                <button type="button" className="link-button" onClick={() => ask({ source, entities })}>
                  Remove… <span className="sr-only">all of {source}</span>
                </button>
              )}
            </dd>
          </div>
        ))}
      </dl>
      {sources.some(([source]) => source !== DOCUMENTS) && (
        <form className="toolbar" onSubmit={submit}>
          <TextInput
            label="Id of a loaded entity"
            value={entity}
            maxLength={200}
            onChange={(event) => setEntity(event.currentTarget.value)}
            className="toolbar-text"
          />
          <Button type="submit" variant="default" className="toolbar-button" disabled={entity.trim() === ''}>
            Remove…
          </Button>
        </form>
      )}
      <p className="dim small" role="status">
        {done}
      </p>
      <RemovalDialog
        opened={asking}
        title={target && ('source' in target ? `Remove all of ${target.source}?` : `Remove ${target.entityId}?`)}
        verb="Remove"
        remove={() => remove(target!)}
        onRemoved={removed}
        onClose={() => setAsking(false)}
        landing={heading}
      >
        {target && 'source' in target
          ? `${count(target.entities, 'entity', 'entities')} with names and relations are`
          : 'The entity with its names and relations is'}{' '}
        removed for everybody and at once; what was replaced when it was loaded does not come back. Stores keep what they
        learned until the job that rebuilds them has run.
      </RemovalDialog>
    </section>
  );
}
