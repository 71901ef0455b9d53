import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import * as api from '../../api';
import { ErrorNotice, Skeletons, Time } from '../../components/Parts';
import { useWho } from '../../lib/who';
import { bytes, number } from '../../lib/words';
import { JobCard } from './JobCard';

const MODEL: Record<api.ModelState, string> = {
  ready: 'ready',
  loading: 'loading',
  missing: 'missing',
  broken: 'broken',
};

/** The service at a glance; each number leads to what it is made of. */
export function Overview() {
  const { keep } = useWho();
  const overview = useQuery({
    queryKey: ['admin', 'overview'],
    queryFn: ({ signal }) => api.overview(signal),
    refetchInterval: 3_000,
  });
  // Older services do not count users in the overview: the list of users knows how many there are.
  const users = useQuery({
    queryKey: ['admin', 'users', 'total'],
    queryFn: ({ signal }) => api.adminUsers({ page: 0, size: 1 }, signal),
    enabled: overview.isSuccess && overview.data.users === undefined,
  });
  if (overview.isPending) {
    return <Skeletons rows={3} className="skeleton-hit" />;
  }
  if (overview.isError) {
    return <ErrorNotice error={overview.error} retry={() => void overview.refetch()} />;
  }
  const o = overview.data;
  const userCount = o.users ?? users.data?.total;
  return (
    <>
      <title>Overview · Attune</title>
      <dl className="figures">
        <Figure label="Documents" value={number(o.documents)}>
          {o.embeddedDocuments === o.documents ? 'all with vectors' : `${number(o.embeddedDocuments)} with vectors`}
        </Figure>
        <Figure
          label="Users"
          value={
            <Link to="/admin/users" search={keep}>
              {userCount === undefined ? '–' : number(userCount)}
            </Link>
          }
        />
        {o.queries !== undefined && <Figure label="Queries" value={number(o.queries)} />}
        {o.events !== undefined && <Figure label="Events" value={number(o.events)} />}
        <Figure
          label="Known entities"
          value={
            <Link to="/admin/knowledge" search={keep}>
              {number(o.entities)}
            </Link>
          }
        >
          in the knowledge base
        </Figure>
        <Figure
          label="Model"
          value={
            <Link to="/admin/models" search={keep} className={`state state-${o.model}`}>
              {MODEL[o.model]}
            </Link>
          }
        >
          {o.modelName}
        </Figure>
        <Figure label="Read for ranking" value={number(o.readDocuments)}>
          {bytes(o.readDiskBytes)} on disk, {bytes(o.readMemoryBytes)} in memory
        </Figure>
        <Figure label="Database" value={bytes(o.databaseBytes)} />
        <Figure label="Memory" value={bytes(o.heapBytes)}>
          Java heap in use
        </Figure>
        <Figure label="Running since" value={<Time at={o.startedAt} />}>
          {o.version && `version ${o.version}`}
        </Figure>
      </dl>
      {o.modelMessage && o.model !== 'ready' && <p className="notice notice-degraded">{o.modelMessage}</p>}
      <section aria-labelledby="jobs-title">
        <h2 id="jobs-title">Background jobs</h2>
        <ul className="jobs">
          {o.jobs.map((job) => (
            <JobCard key={job.id} job={job} />
          ))}
        </ul>
      </section>
    </>
  );
}

function Figure({ label, value, children }: { label: string; value: ReactNode; children?: ReactNode }) {
  return (
    <div className="figure">
      <dt>{label}</dt>
      <dd>
        <span className="figure-value">{value}</span>
        {children && <span className="dim small">{children}</span>}
      </dd>
    </div>
  );
}
