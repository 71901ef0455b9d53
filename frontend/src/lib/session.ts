const KEY = 'attune-sessions';

/** A random id; works without a secure context too. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The session of a user in this tab: one per user, gone with the tab. */
export function sessionOf(userId: string): string {
  let sessions: Record<string, string> = {};
  try {
    sessions = JSON.parse(sessionStorage.getItem(KEY) ?? '{}') as Record<string, string>;
    if (!Object.hasOwn(sessions, userId)) {
      sessions[userId] = randomId();
      sessionStorage.setItem(KEY, JSON.stringify(sessions));
    }
  } catch {
    // Storage can be forbidden or full: then each request is a session of its own.
  }
  return sessions[userId] ?? randomId();
}
