import { useNavigate, useSearch } from '@tanstack/react-router';
import type { Privacy, Who } from '../router';
import { sessionOf } from './session';

/** Who is searching, as far as the service may know. */
export interface Searcher {
  /** The user of the address, whatever the privacy. */
  name: string | undefined;
  privacy: Privacy;
  /** The user that requests may carry; undefined in a private session. */
  userId: string | undefined;
  sessionId: string | undefined;
}

export function useWho(): Searcher & { change: (who: Who) => void; keep: Who } {
  const params = useSearch({ strict: false });
  const navigate = useNavigate();
  const name = params.user;
  const privacy: Privacy = name === undefined ? 'private' : (params.p ?? 'on');
  const userId = privacy === 'private' ? undefined : name;
  return {
    name,
    privacy,
    userId,
    sessionId: userId === undefined ? undefined : sessionOf(userId),
    keep: { user: params.user, p: params.p },
    change: (who) => {
      // An open document stays open; everything else of the address is kept too.
      void navigate({ to: '.', search: (before) => ({ ...before, ...who }), replace: true });
    },
  };
}

/** A name for people where a mark beside it says that they are simulated: demo users are called demo-ana. */
export function shortName(userId: string): string {
  const name = userId.replace(/^demo-/, '');
  return name === userId ? userId : name.charAt(0).toUpperCase() + name.slice(1);
}

/** A name for people that says itself that they are simulated. */
export function displayName(userId: string): string {
  const name = shortName(userId);
  return name === userId ? userId : `${name} (simulated)`;
}
