import { useEffect, useRef } from 'react';

/** Calls back for a key pressed outside of text fields and dialogs. Compares the character, whatever the keyboard. */
export function useKey(key: string, action: () => void): void {
  const latest = useRef(action);
  latest.current = action;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const target = event.target instanceof Element ? event.target : null;
      if (
        event.key === key &&
        !event.ctrlKey &&
        !event.metaKey &&
        !event.defaultPrevented &&
        !target?.closest('input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable], [role=dialog]')
      ) {
        event.preventDefault();
        latest.current();
      }
    };
    document.addEventListener('keydown', listen);
    return () => document.removeEventListener('keydown', listen);
  }, [key]);
}
