import { Progress } from '@mantine/core';
import type { Job } from '../../api';
import { Time } from '../../components/Parts';
import { number } from '../../lib/words';

const STATES: Record<Job['state'], string> = {
  off: 'off',
  waiting: 'waiting',
  running: 'running',
  done: 'done',
  failed: 'failed',
};

/** A background job and how far it is. */
export function JobCard({ job }: { job: Job }) {
  const percent = job.total > 0 ? Math.min(100, (100 * job.done) / job.total) : job.state === 'done' ? 100 : 0;
  return (
    <li className="job">
      <div className="job-head">
        <h3>{job.label}</h3>
        <span className={`state state-${job.state}`}>{STATES[job.state]}</span>
      </div>
      <Progress
        value={percent}
        aria-label={`${job.label}: ${Math.floor(percent)} %`}
        color={job.state === 'failed' ? 'red' : undefined}
      />
      <p className="dim small">
        {number(job.done)} of {number(job.total)}
        {job.part && <> · {job.part}</>}
        {job.perSecond !== null && (
          <>
            {' '}
            · {number(Math.round(job.perSecond))} {job.id === 'warm' ? 'tokens' : 'items'} per second
          </>
        )}
        {job.finishedAt ? (
          <>
            {' '}
            · finished <Time at={job.finishedAt} />
          </>
        ) : (
          job.startedAt && (
            <>
              {' '}
              · started <Time at={job.startedAt} />
            </>
          )
        )}
      </p>
      {job.error && (
        <p className="notice notice-error" role="alert">
          {job.error}
        </p>
      )}
    </li>
  );
}
