import { useQuery } from '@tanstack/react-query';
import * as api from '../api';
import { Icon } from './Icon';
import { ErrorNotice, Skeletons, Time } from './Parts';

/** The user's own searches and visits behind an entity; `only` picks some of them. */
export function Events(props: { userId: string; entityId: string; only?: string[] }) {
  const events = useQuery({
    queryKey: ['user', props.userId, 'events', props.entityId],
    queryFn: ({ signal }) => api.entityEvents(props.userId, props.entityId, signal),
  });
  if (events.isPending) {
    return <Skeletons rows={Math.min(3, props.only?.length ?? 2)} className="skeleton-line" />;
  }
  if (events.isError) {
    return <ErrorNotice error={events.error} retry={() => void events.refetch()} />;
  }
  const picked = events.data.filter((event) => props.only?.includes(event.eventId));
  const list = picked.length > 0 ? picked : events.data;
  if (list.length === 0) {
    return <p className="dim">Nothing of yours: it is close to what you looked for.</p>;
  }
  return (
    <ul className="events">
      {list.map((event) => (
        <li key={`${event.kind} ${event.eventId}`}>
          <Icon name={event.kind === 'query' ? 'search' : 'arrow'} size={14} />
          <span>
            {event.kind === 'query'
              ? `searched “${event.text ?? ''}”`
              : `${action(event.source)} ${event.title ?? event.objectId ?? 'a page'}`}
          </span>
          <Time at={event.timestamp} />
        </li>
      ))}
    </ul>
  );
}

function action(source: string): string {
  return source === 'click' ? 'opened' : source === 'page' ? 'was on' : source.replaceAll('_', ' ');
}
