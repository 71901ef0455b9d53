import { useQuery } from '@tanstack/react-query';
import * as api from '../../api';
import { EmptyState, ErrorNotice, Skeletons } from '../../components/Parts';
import { number } from '../../lib/words';

/** How well searches went, and what was measured with test collections. */
export function QualityPage() {
  const days = useQuery({ queryKey: ['admin', 'quality'], queryFn: ({ signal }) => api.quality(signal) });
  const results = useQuery({
    queryKey: ['admin', 'quality', 'results'],
    queryFn: ({ signal }) => api.measuredResults(signal),
    staleTime: Infinity,
  });
  return (
    <div className="stack quality">
      <title>Quality · Attune</title>
      <section aria-labelledby="searches-title">
        <h2 id="searches-title">Searches by day</h2>
        {days.isPending && <Skeletons rows={3} className="skeleton-entity" />}
        {days.isError && <ErrorNotice error={days.error} retry={() => void days.refetch()} />}
        {days.data && <Days days={days.data.days} label="Searches by day" empty="Nobody has searched yet" />}
      </section>
      {results.isPending && <Skeletons rows={3} className="skeleton-hit" />}
      {results.isError && <ErrorNotice error={results.error} retry={() => void results.refetch()} />}
      {results.data?.map((result) => (
        <Result key={result.name} result={result} />
      ))}
      {days.data && days.data.simulated.length > 0 && (
        <details>
          <summary>Searches of the demo’s simulated users, by day</summary>
          <Days days={days.data.simulated} label="Searches of the demo’s simulated users" empty="" />
        </details>
      )}
    </div>
  );
}

function Days({ days, label, empty }: { days: api.DayQuality[]; label: string; empty: string }) {
  if (days.length === 0) {
    return <EmptyState title={empty} />;
  }
  return (
    <div className="table-wrap" tabIndex={0} role="region" aria-label={`Table: ${label}`}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Day (UTC)</th>
            <th scope="col" className="numeric">
              Queries
            </th>
            <th scope="col" className="numeric">
              With a visit
            </th>
            <th scope="col" className="numeric">
              MRR
            </th>
          </tr>
        </thead>
        <tbody>
          {days.map((day) => (
            <tr key={day.day}>
              <th scope="row">{day.day}</th>
              <td className="numeric">{number(day.queries)}</td>
              <td className="numeric">{number(day.clickedQueries)}</td>
              <td className="numeric">{day.meanReciprocalRank?.toFixed(3) ?? '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Result({ result }: { result: api.MeasuredResult }) {
  const id = `result-${result.name}`;
  const [first, ...others] = result.keys;
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{result.title}</h2>
      <p className="dim small break">
        <code>{result.command}</code> · {result.date}, commit {result.commit}, {result.machine}
      </p>
      {result.notes && <p className="small">{result.notes}</p>}
      <div className="table-wrap" tabIndex={0} role="region" aria-label={`Table: ${result.title}`}>
        <table className="table">
          <thead>
            <tr>
              {result.keys.map((key) => (
                <th key={key} scope="col">
                  {key}
                </th>
              ))}
              {result.measures.map((measure) => (
                <th key={measure.name} scope="col" className="numeric">
                  {measure.title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {result.rows.map((row) => (
              <tr key={result.keys.map((key) => row.keys[key]).join(' ')}>
                <th scope="row">{first && row.keys[first]}</th>
                {others.map((key) => (
                  <td key={key}>{row.keys[key]}</td>
                ))}
                {result.measures.map((measure) => (
                  <td key={measure.name} className="numeric">
                    {row.figures[measure.name] ?? ''}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
