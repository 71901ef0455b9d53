import { useLayoutEffect, useRef, type RefObject } from 'react';

/**
 * Moves list items from where they were to where they are now, so that a new order can be followed with the eyes.
 * Children carry `data-flip` with a stable id; nothing moves for people who asked for less motion.
 */
export function useFlip(list: RefObject<HTMLElement | null>, order: string): void {
  const before = useRef(new Map<string, number>());
  useLayoutEffect(() => {
    const items = list.current?.querySelectorAll<HTMLElement>('[data-flip]') ?? [];
    const still = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    const now = new Map<string, number>();
    for (const item of items) {
      const id = item.dataset.flip!;
      const top = item.offsetTop;
      const old = before.current.get(id);
      now.set(id, top);
      if (still || before.current.size === 0) {
        continue;
      }
      if (old === undefined) {
        item.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 200, easing: 'ease-out' });
      } else if (old !== top) {
        item.animate([{ transform: `translateY(${old - top}px)` }, { transform: 'none' }], {
          duration: 280,
          easing: 'cubic-bezier(0.2, 0, 0, 1)',
        });
      }
    }
    before.current = now;
  }, [list, order]);
}
