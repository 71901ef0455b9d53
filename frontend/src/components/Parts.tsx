import { Button } from '@mantine/core';
import { useState, type ReactNode } from 'react';
import { ApiError, type Mode } from '../api';
import { parseSnippet } from '../lib/snippet';
import { exactTime, relativeTime } from '../lib/time';
import { initials } from '../lib/words';
import { Icon, type IconName } from './Icon';

/** A moment in words; the exact time on hover. */
export function Time({ at }: { at: string }) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) {
    return null;
  }
  return (
    <time dateTime={at} title={exactTime(date)}>
      {relativeTime(date, new Date())}
    </time>
  );
}

const MODES: Record<Mode, { words: string; icon: IconName; hint: string }> = {
  familiar: { words: 'familiar', icon: 'dot', hint: 'You looked for this often or recently' },
  unfamiliar: { words: 'new to you', icon: 'spark', hint: 'You have not met this, but it is close to what you look for' },
  lapsed: { words: 'a while ago', icon: 'clock', hint: 'You looked for this before, but not in the last 14 days' },
};

/** How an entity stands to the user: sign, words and colour. */
export function ModeMark({ mode }: { mode: string }) {
  const key = mode.toLowerCase() as Mode;
  const { words, icon, hint } = MODES[key] ?? MODES.familiar;
  return (
    <span className={`mode mode-${key}`} title={hint}>
      <Icon name={icon} size={14} filled={key === 'familiar'} />
      {words}
    </span>
  );
}

/** How many places something stands higher or lower than elsewhere; keeps its room while that is not known (null). */
export function RankChange({ change, words }: { change: number | 'new' | null; words: string }) {
  if (change === 0) {
    return null;
  }
  if (change === null) {
    return <span className="rank-change" />;
  }
  const up = change === 'new' || change > 0;
  return (
    <span className={up ? 'rank-change rank-up' : 'rank-change rank-down'} title={words}>
      <Icon name={up ? 'up' : 'down'} size={14} />
      <span aria-hidden="true">{change === 'new' ? 'new' : up ? `+${change}` : `−${-change}`}</span>
      <span className="sr-only">{words}</span>
    </span>
  );
}

/** Text with its matches marked; nothing in it becomes markup. */
export function Snippet({ html }: { html: string }) {
  return (
    <>
      {parseSnippet(html).map((part, i) => (part.match ? <mark key={i}>{part.text}</mark> : part.text))}
    </>
  );
}

/** A picture of fixed shape; initials stand in while there is none. */
export function Poster({ title, image, large = false }: { title: string; image: string | null; large?: boolean }) {
  const [state, setState] = useState<'loading' | 'shown' | 'failed'>('loading');
  return (
    <div className={large ? 'poster poster-large' : 'poster'} aria-hidden="true">
      <span>{initials(title)}</span>
      {image !== null && state !== 'failed' && (
        <img
          src={image}
          alt=""
          loading="lazy"
          decoding="async"
          referrerPolicy="no-referrer"
          className={state === 'shown' ? 'shown' : undefined}
          onLoad={() => setState('shown')}
          onError={() => setState('failed')}
        />
      )}
    </div>
  );
}

/** Something failed: what, and what to do. */
export function ErrorNotice({ error, retry }: { error: unknown; retry?: () => void }) {
  const message = error instanceof Error ? error.message : 'Something went wrong.';
  const wait = error instanceof ApiError && error.retryAfter !== null ? ` Try again in ${error.retryAfter} s.` : '';
  return (
    <div className="notice notice-error" role="alert">
      <p>
        {message}
        {wait}
      </p>
      {retry && (
        <Button size="xs" variant="default" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** Nothing here yet: why, and how that changes. */
export function EmptyState({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** Grey bars in the place of what is being loaded. */
export function Skeletons({ rows, className }: { rows: number; className: string }) {
  return (
    <div className="skeletons" aria-hidden="true">
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} className={`skeleton ${className}`} />
      ))}
    </div>
  );
}
