import { useQuery } from '@tanstack/react-query';
import * as api from '../../api';
import { EmptyState, ErrorNotice, Skeletons } from '../../components/Parts';
import { JobCard } from './JobCard';

export function Jobs() {
  const jobs = useQuery({
    queryKey: ['admin', 'jobs'],
    queryFn: ({ signal }) => api.jobs(signal),
    refetchInterval: 2_000,
  });
  return (
    <>
      <title>Jobs · Attune</title>
      <h2 className="sr-only">Jobs</h2>
      {jobs.isPending && <Skeletons rows={3} className="skeleton-entity" />}
      {jobs.isError && <ErrorNotice error={jobs.error} retry={() => void jobs.refetch()} />}
      {jobs.data?.length === 0 && <EmptyState title="Nothing runs in the background" />}
      <ul className="jobs">{jobs.data?.map((job) => <JobCard key={job.id} job={job} />)}</ul>
    </>
  );
}
