import { Link } from '@tanstack/react-router';
import { useId, useState } from 'react';
import type { Suggestion, SuggestionAnswer } from '../../api';
import { Events } from '../../components/Events';
import { Icon } from '../../components/Icon';
import { ModeMark, Skeletons } from '../../components/Parts';
import { degradation, worthSaying } from '../../lib/words';
import type { SearchParams } from '../../router';

/** Next searches, each with its reason and the own searches behind it. */
export function Suggestions(props: {
  title: string;
  answer: SuggestionAnswer | null;
  loading: boolean;
  userId: string | undefined;
  empty: string;
}) {
  const { answer } = props;
  return (
    <section className="suggestions" aria-label={props.title} aria-busy={props.loading}>
      <h2>{props.title}</h2>
      {answer === null && props.loading && <Skeletons rows={4} className="skeleton-suggestion" />}
      {answer !== null && answer.suggestions.length > 0 && (
        <ul>
          {answer.suggestions.map((suggestion) => (
            <SuggestionCard key={suggestion.text} suggestion={suggestion} userId={props.userId} />
          ))}
        </ul>
      )}
      {(answer?.suggestions.length === 0 || (answer === null && !props.loading)) && <p className="dim">{props.empty}</p>}
      {answer &&
        worthSaying(answer.degraded, answer.suggestions.length).map((part) => (
          <p key={part} className="dim small">
            {degradation(part, { model: null })}
          </p>
        ))}
    </section>
  );
}

function SuggestionCard({ suggestion, userId }: { suggestion: Suggestion; userId: string | undefined }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const entity = suggestion.entities[0];
  const traceable = userId !== undefined && entity !== undefined && suggestion.events.length > 0;
  return (
    <li className="suggestion">
      <Link
        to="/"
        search={(before: SearchParams) => ({ user: before.user, p: before.p, q: suggestion.text })}
        className="suggestion-link"
      >
        <Icon name="search" size={16} />
        <span>{suggestion.text}</span>
      </Link>
      {suggestion.mode && <ModeMark mode={suggestion.mode} />}
      <p className="suggestion-reason">
        {suggestion.rationale}{' '}
        {traceable && (
          <button
            type="button"
            className="link-button"
            aria-expanded={open}
            aria-controls={id}
            onClick={() => setOpen(!open)}
          >
            {open ? 'hide' : 'searches behind it'}
            <span className="sr-only">: {suggestion.text}</span>
          </button>
        )}
      </p>
      {traceable && (
        <div id={id} hidden={!open}>
          {open && <Events userId={userId} entityId={entity.id} only={suggestion.events} />}
        </div>
      )}
    </li>
  );
}
