import { Drawer } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import * as api from '../../api';
import { Icon } from '../../components/Icon';
import { ErrorNotice, Poster, Skeletons } from '../../components/Parts';
import { safeHref } from '../../lib/url';
import type { Searcher } from '../../lib/who';
import { number } from '../../lib/words';
import { values } from './HitCard';
import { Suggestions } from './Suggestions';

/** One document: its text, its fields, its page, and where to go from here. */
export function DocumentPanel(props: { id: string | undefined; query: string; who: Searcher; onClose: () => void }) {
  return (
    <Drawer
      opened={props.id !== undefined}
      onClose={props.onClose}
      position="right"
      size="min(34rem, 100vw)"
      padding="lg"
      overlayProps={{ backgroundOpacity: 0.25 }}
      transitionProps={{ duration: 160 }}
      closeButtonProps={{ 'aria-label': 'Close' }}
      title="Details"
      // A header of a dialog is not the page's banner.
      attributes={{ header: { role: 'presentation' } }}
    >
      {props.id !== undefined && <Content key={props.id} id={props.id} query={props.query} who={props.who} />}
    </Drawer>
  );
}

function Content({ id, query, who }: { id: string; query: string; who: Searcher }) {
  const document = useQuery({ queryKey: ['document', id], queryFn: ({ signal }) => api.document(id, signal) });
  const personal = who.privacy === 'on' || who.privacy === 'history';
  const suggestions = useQuery({
    queryKey: ['suggestions', id, query, who.userId ?? null, who.privacy],
    queryFn: ({ signal }) =>
      api.suggest(
        {
          documentId: id,
          query: query === '' ? undefined : query,
          userId: personal ? who.userId : undefined,
          sessionId: personal ? who.sessionId : undefined,
          size: 4,
          modes: who.privacy === 'history' ? ['familiar', 'lapsed'] : undefined,
        },
        signal,
      ),
    retry: false,
  });
  if (document.isPending) {
    return <Skeletons rows={3} className="skeleton-hit" />;
  }
  if (document.isError) {
    return <ErrorNotice error={document.error} retry={() => void document.refetch()} />;
  }
  const { title, text, image, url, fields } = document.data;
  const page = pageOf(document.data);
  return (
    <div className="document">
      <div className="document-head">
        <Poster title={title} image={image} large />
        <div>
          <h2>{title}</h2>
          <p className="dim">{[values(fields.year)[0], values(fields.director).join(', ')].filter(Boolean).join(' · ')}</p>
          {page && (
            <a href={page.href} target="_blank" rel="noreferrer noopener">
              {page.words} <Icon name="link" size={14} />
            </a>
          )}
        </div>
      </div>
      <p className="document-text">{text === '' ? 'This document has no text.' : text}</p>
      <dl className="fields">
        {Object.entries(fields)
          .filter(([name]) => name !== 'year' && name !== 'director')
          .map(([name, value]) => (
            <div key={name}>
              <dt>{label(name)}</dt>
              <dd>{typeof value === 'number' ? number(value) : values(value).slice(0, 12).join(', ')}</dd>
            </div>
          ))}
      </dl>
      {suggestions.isError ? (
        <ErrorNotice error={suggestions.error} retry={() => void suggestions.refetch()} />
      ) : (
        <Suggestions
          title="Where to go from here"
          answer={suggestions.data ?? null}
          loading={suggestions.isPending}
          userId={personal ? who.userId : undefined}
          empty="Nothing to suggest from this page."
        />
      )}
      {url !== null && safeHref(url) === undefined && <p className="dim small">Its address is not a web link: {url}</p>}
    </div>
  );
}

function label(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ');
}

/** The document's own page, or that of the film at TMDB, where its poster comes from. */
function pageOf(document: api.Document): { href: string; words: string } | null {
  const href = safeHref(document.url);
  if (href !== undefined) {
    return { href, words: 'Open the page' };
  }
  const film = document.image?.startsWith('https://image.tmdb.org/') && /^\d+$/.test(document.id);
  return film ? { href: `https://www.themoviedb.org/movie/${document.id}`, words: 'This film at TMDB' } : null;
}
