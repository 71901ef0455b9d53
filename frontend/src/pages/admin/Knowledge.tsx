import { useQuery } from '@tanstack/react-query';
import * as api from '../../api';
import { ErrorNotice, Skeletons } from '../../components/Parts';
import { bytes, number } from '../../lib/words';
import { Overrides } from './Overrides';
import { Sources } from './Sources';

/** What the linker knows, and what was fixed by hand. */
export function Knowledge() {
  const stats = useQuery({ queryKey: ['admin', 'kb'], queryFn: ({ signal }) => api.knowledgeBase(signal) });
  return (
    <>
      <title>Knowledge · Attune</title>
      {stats.isPending && <Skeletons rows={2} className="skeleton-hit" />}
      {stats.isError && <ErrorNotice error={stats.error} retry={() => void stats.refetch()} />}
      {stats.data && (
        <>
          <dl className="figures">
            <Figure label="Entities" value={number(stats.data.entities)} />
            <Figure label="Other names" value={number(stats.data.aliases)} />
            <Figure label="Relations" value={number(stats.data.neighbours)} />
            <Figure label="Memory" value={bytes(stats.data.bytes)} />
          </dl>
          <div className="pair">
            <Sources bySource={stats.data.bySource} />
            <Types byType={stats.data.byType} />
          </div>
        </>
      )}
      <p className="dim knowledge-hint">
        Your own entities are loaded with <code>POST /api/v1/admin/kb</code>, one JSON object a line; one with the id of an
        entity that is here replaces it. Removed with <code>DELETE /api/v1/admin/kb/sources/…</code> or here.
      </p>
      <Overrides />
    </>
  );
}

function Figure({ label, value }: { label: string; value: string }) {
  return (
    <div className="figure">
      <dt>{label}</dt>
      <dd>
        <span className="figure-value">{value}</span>
      </dd>
    </div>
  );
}

function Types({ byType }: { byType: Record<string, number> }) {
  const entries = Object.entries(byType).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  return (
    <section className="card" aria-label="By type">
      <h2>By type</h2>
      {entries.length === 0 && <p className="dim">No entities yet.</p>}
      <dl className="fields">
        {entries.map(([name, count]) => (
          <div key={name}>
            <dt className="break">{name}</dt>
            <dd>{number(count)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
