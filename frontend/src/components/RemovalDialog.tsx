import { Button, Checkbox, Modal } from '@mantine/core';
import { useFocusReturn } from '@mantine/hooks';
import { useMutation } from '@tanstack/react-query';
import { useEffect, useRef, useState, type ReactNode, type RefObject } from 'react';
import { ErrorNotice } from './Parts';

type Props<T> = {
  opened: boolean;
  title: ReactNode;
  /** On the button that removes. */
  verb: string;
  /** To be ticked before that button can be pressed. */
  acknowledge?: string;
  remove: () => Promise<T>;
  onRemoved: (answer: T) => void;
  onClose: () => void;
  /** Gets the focus after a removal: what was pressed may be gone. */
  landing: RefObject<HTMLElement | null>;
  /** What is removed, and what that means. */
  children: ReactNode;
};

/** Asks before something is removed. It stays open while the request runs, and shows its error. */
export function RemovalDialog<T>(props: Props<T>) {
  const { opened, title, verb, acknowledge, remove, onRemoved, onClose, landing, children } = props;
  const [sure, setSure] = useState(false);
  const removed = useRef(false);
  const keep = useRef<HTMLButtonElement>(null);
  const focusPressed = useFocusReturn({ opened, shouldReturnFocus: false });
  const removal = useMutation({
    mutationFn: remove,
    onSuccess: (answer) => {
      removed.current = true;
      onRemoved(answer);
      onClose();
    },
  });
  // The button that was pressed could not keep the focus while it was loading.
  useEffect(() => {
    if (removal.isError) {
      keep.current?.focus();
    }
  }, [removal.isError]);
  const close = () => {
    if (!removal.isPending) {
      onClose();
    }
  };
  const closed = () => {
    if (removed.current) {
      landing.current?.focus();
    } else {
      focusPressed();
    }
    removed.current = false;
    setSure(false);
    removal.reset();
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      returnFocus={false}
      onExitTransitionEnd={closed}
      title={title}
      closeButtonProps={{ 'aria-label': 'Close', disabled: removal.isPending }}
    >
      <div className="stack">
        <p>{children}</p>
        {acknowledge && (
          <Checkbox label={acknowledge} checked={sure} onChange={(event) => setSure(event.currentTarget.checked)} />
        )}
        {removal.isError && <ErrorNotice error={removal.error} />}
        <div className="buttons">
          <Button ref={keep} variant="default" disabled={removal.isPending} onClick={close}>
            Keep
          </Button>
          <Button
            color="red.9"
            disabled={acknowledge !== undefined && !sure}
            loading={removal.isPending}
            onClick={() => removal.mutate()}
          >
            {verb}
          </Button>
        </div>
      </div>
    </Modal>
  );
}
