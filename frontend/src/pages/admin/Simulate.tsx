import { Button, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState, type FormEvent, type ReactNode } from 'react';
import * as api from '../../api';
import { Icon } from '../../components/Icon';
import { ErrorNotice, ModeMark, RankChange, Skeletons } from '../../components/Parts';
import { displayName, shortName, useWho } from '../../lib/who';
import { count, degradation, list, worthSaying } from '../../lib/words';
import { Attention, Prompts } from './SimulatedPrompts';

/** What a user would get for a query, beside what somebody unknown would, and how both came about. */
export function Simulate() {
  const { userId } = useParams({ from: '/admin/users/$userId/simulate' });
  const { keep } = useWho();
  const [query, setQuery] = useState('');
  const simulation = useMutation({ mutationFn: (q: string) => api.simulate({ query: q, userId, size: 10 }) });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (query.trim() !== '') {
      simulation.mutate(query.trim());
    }
  };
  const { data } = simulation;
  return (
    <>
      <title>{`Simulate ${displayName(userId)} · Attune`}</title>
      <p className="crumbs">
        <Link to="/admin/users" search={keep}>
          Users
        </Link>{' '}
        /{' '}
        <Link to="/admin/users/$userId" params={{ userId }} search={keep}>
          {displayName(userId)}
        </Link>{' '}
        / Simulate
      </p>
      <div className="user-head">
        <h2>Search as {shortName(userId)} without a trace</h2>
        <p className="dim">
          What this user would get, beside what somebody unknown would. Nothing is logged, learned or kept; the audit log
          says that you looked.
        </p>
      </div>
      <form className="toolbar" onSubmit={submit}>
        <TextInput
          label="Query"
          value={query}
          maxLength={10_000}
          onChange={(event) => setQuery(event.currentTarget.value)}
          className="toolbar-text"
        />
        <Button type="submit" variant="default" loading={simulation.isPending} className="toolbar-button">
          Simulate
        </Button>
      </form>
      <p className="status" role="status">
        {simulation.isPending && 'Searching twice and reading what nobody has read yet. This can take half a minute.'}
        {data && !simulation.isPending && summary(simulation.variables, data)}
      </p>
      {simulation.isPending && <Skeletons rows={4} className="skeleton-entity" />}
      {simulation.isError && (
        <ErrorNotice error={simulation.error} retry={() => simulation.mutate(simulation.variables)} />
      )}
      {data && !simulation.isPending && <Outcome userId={userId} simulation={data} />}
    </>
  );
}

function summary(query: string, { asUser, withoutUser }: api.Simulation): string {
  const other = new Map(withoutUser.search.hits.map((hit) => [hit.id, hit.rank]));
  const moved = asUser.search.hits.filter((hit) => other.get(hit.id) !== hit.rank).length;
  const read = asUser.search.ranking.documents;
  return (
    `“${query}”: ${count(asUser.search.total, 'match', 'matches')}, ${count(read, 'document')} read for ranking; ` +
    (moved === 0 ? 'the user gets the list that everybody gets.' : `${count(moved, 'hit')} of the list stand elsewhere.`)
  );
}

function Outcome({ userId, simulation }: { userId: string; simulation: api.Simulation }) {
  const { asUser, withoutUser } = simulation;
  const name = shortName(userId);
  return (
    <div className="stack simulation">
      <Pair title="Results">
        <Hits label={`Results as ${name}`} title={`As ${name}`} of={asUser} other={withoutUser} />
        <Hits label="Results without the user" title="Without the user" of={withoutUser} other={asUser} />
      </Pair>
      <Pair title="Suggestions">
        <Suggested label={`Suggestions as ${name}`} title={`As ${name}`} of={asUser} />
        <Suggested label="Suggestions without the user" title="Without the user" of={withoutUser} />
      </Pair>
      <Attention name={name} asUser={asUser} withoutUser={withoutUser} />
      <Prompts name={name} asUser={asUser} withoutUser={withoutUser} />
    </div>
  );
}

function Pair({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <h2>{title}</h2>
      <div className="pair">{children}</div>
    </section>
  );
}

function Degraded({ parts, model }: { parts: string[]; model: string | null }) {
  return parts.map((part) => (
    <p key={part} className="notice notice-degraded">
      {degradation(part, { model })}
    </p>
  ));
}

function Hits(props: { label: string; title: string; of: api.Simulated; other: api.Simulated }) {
  const { search } = props.of;
  const ranks = new Map(props.other.search.hits.map((hit) => [hit.id, hit.rank]));
  return (
    <section className="card" aria-label={props.label}>
      <h3>{props.title}</h3>
      <Degraded parts={search.degraded} model={search.ranking.model} />
      {search.hits.length === 0 && <p className="dim">Nothing matches.</p>}
      <ol className="simulated">
        {search.hits.map((hit) => (
          <li key={hit.id}>
            <span className="simulated-rank">{hit.rank}</span>
            <div>
              <div className="hit-head">
                <span className="simulated-title">{hit.title}</span>
                {standing(hit.rank, ranks.get(hit.id))}
              </div>
              {hit.why.length > 0 && (
                <p className="dim small">
                  <Icon name="person" size={14} /> {list(hit.why.map((reason) => reason.label))}
                </p>
              )}
            </div>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** Where a hit stands against the other list. */
function standing(rank: number, other: number | undefined) {
  return other === undefined ? (
    <RankChange change="new" words="not among these of the other list" />
  ) : (
    <RankChange change={other - rank} words={`at ${other} of the other list`} />
  );
}

function Suggested({ label, title, of }: { label: string; title: string; of: api.Simulated }) {
  const { suggestions, degraded } = of.suggestions;
  return (
    <section className="card" aria-label={label}>
      <h3>{title}</h3>
      <Degraded parts={worthSaying(degraded, suggestions.length)} model={null} />
      {suggestions.length === 0 && <p className="dim">No suggestions.</p>}
      <ul className="simulated">
        {suggestions.map((suggestion) => (
          <li key={suggestion.text}>
            <div>
              <span className="simulated-title">{suggestion.text}</span>{' '}
              {suggestion.mode && <ModeMark mode={suggestion.mode} />}
              <p className="dim small">{suggestion.rationale}</p>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
