import { Fragment, type ReactNode } from 'react';
import { Button, Progress } from '@mantine/core';
import type { Job } from '../../api';
import { Time } from '../../components/Parts';
import { number } from '../../lib/words';

/** The jobs that can be started by hand; the others start by themselves. */
export const STARTABLE = new Set(['rebuild', 'reindex', 'warm']);

const STATES: Record<Job['state'], string> = {
  off: 'off',
  waiting: 'waiting',
  running: 'running',
  done: 'done',
  failed: 'failed',
};

/** A background job and how far it is; with a way to start it where there is one. */
export function JobCard({ job, onStart }: { job: Job; onStart?: () => void }) {
  const percent = job.total > 0 ? Math.min(100, (100 * job.done) / job.total) : job.state === 'done' ? 100 : 0;
  const details: ReactNode[] = [];
  if (job.total > 0) details.push(`${number(job.done)} of ${number(job.total)}`);
  if (job.part) details.push(job.part);
  if (job.perSecond !== null) {
    const digits = job.perSecond < 10 ? 1 : 0;
    details.push(`${job.perSecond.toFixed(digits)} ${job.id === 'warm' ? 'tokens' : 'items'} per second`);
  }
  if (job.finishedAt) {
    details.push(
      <>
        finished <Time at={job.finishedAt} />
      </>,
    );
  } else if (job.startedAt) {
    details.push(
      <>
        started <Time at={job.startedAt} />
      </>,
    );
  }
  return (
    <li className="job">
      <div className="job-head">
        <h3>{job.label}</h3>
        <span className={`state state-${job.state}`}>{STARTABLE.has(job.id) && job.state === 'off' ? 'not started' : STATES[job.state]}</span>
      </div>
      <Progress
        value={percent}
        aria-label={`${job.label}: ${Math.floor(percent)} %`}
        color={job.state === 'failed' ? 'red' : undefined}
      />
      {details.length > 0 && (
        <p className="dim small">
          {details.map((detail, i) => (
            <Fragment key={i}>
              {i > 0 && ' · '}
              {detail}
            </Fragment>
          ))}
        </p>
      )}
      {onStart && job.state !== 'running' && job.state !== 'waiting' && (
        <div>
          <Button size="xs" variant="default" onClick={onStart} aria-label={`Start: ${job.label}`}>
            Start
          </Button>
        </div>
      )}
      {job.error && (
        <p className="notice notice-error" role="alert">
          {job.error}
        </p>
      )}
    </li>
  );
}
