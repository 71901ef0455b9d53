import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import * as api from '../../api';
import { EmptyState, ErrorNotice, Skeletons } from '../../components/Parts';
import { JobCard, STARTABLE } from './JobCard';

export function Jobs() {
  const queries = useQueryClient();
  const jobs = useQuery({
    queryKey: ['admin', 'jobs'],
    queryFn: ({ signal }) => api.jobs(signal),
    refetchInterval: 2_000,
  });
  const start = useMutation({
    mutationFn: api.startJob,
    onSuccess: (started) => queries.setQueryData(['admin', 'jobs'], started),
  });
  return (
    <>
      <title>Jobs · Attune</title>
      <h2 className="sr-only">Jobs</h2>
      {jobs.isPending && <Skeletons rows={3} className="skeleton-entity" />}
      {jobs.isError && <ErrorNotice error={jobs.error} retry={() => void jobs.refetch()} />}
      {start.isError && <ErrorNotice error={start.error} />}
      {jobs.data?.length === 0 && <EmptyState title="Nothing runs in the background" />}
      <ul className="jobs">
        {jobs.data?.map((job) => (
          <JobCard key={job.id} job={job} onStart={STARTABLE.has(job.id) ? () => start.mutate(job.id) : undefined} />
        ))}
      </ul>
    </>
  );
}
