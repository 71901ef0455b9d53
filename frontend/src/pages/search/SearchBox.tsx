import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useEffect, useId, useRef, useState, type KeyboardEvent } from 'react';
import * as api from '../../api';
import { Icon } from '../../components/Icon';
import { useKey } from '../../lib/useKey';

const SOURCES: Record<api.Completion['source'], string> = {
  own: 'you searched this',
  popular: 'often searched',
  entity: '',
};

/**
 * The search box with completions: an ARIA combobox. Down and up move through the list; with the list closed, down
 * goes to the first result.
 */
export function SearchBox(props: {
  query: string;
  userId: string | undefined;
  onSearch: (query: string) => void;
  onLeaveDown: () => void;
  inputRef: React.RefObject<HTMLInputElement | null>;
}) {
  const { inputRef } = props;
  const [text, setText] = useState(props.query);
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const listId = useId();
  const box = useRef<HTMLFormElement>(null);
  const [asked] = useDebouncedValue(text.trim(), 80);

  // The address is the truth: back, a suggestion or a link change the text.
  useEffect(() => {
    setText(props.query);
    setOpen(false);
    setActive(-1);
  }, [props.query]);

  useKey('/', () => {
    inputRef.current?.focus();
    inputRef.current?.select();
  });

  const completions = useQuery({
    queryKey: ['complete', props.userId ?? null, asked],
    queryFn: ({ signal }) => api.complete(asked, props.userId, signal),
    enabled: open && asked !== '',
    placeholderData: keepPreviousData,
    retry: false,
  });
  const list = open && text.trim() !== '' ? (completions.data ?? []) : [];
  const shown = list.length > 0;

  const search = (query: string) => {
    setOpen(false);
    setActive(-1);
    setText(query);
    props.onSearch(query.trim());
  };

  const move = (step: number) => {
    setActive((before) => {
      const next = before + step;
      return next < -1 ? list.length - 1 : next >= list.length ? -1 : next;
    });
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) {
      return;
    }
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      if (shown) {
        move(event.key === 'ArrowDown' ? 1 : -1);
      } else if (event.key === 'ArrowDown' && text.trim() === props.query.trim() && props.query !== '') {
        props.onLeaveDown();
      } else {
        setOpen(true);
      }
    } else if (event.key === 'Escape') {
      event.preventDefault();
      if (shown) {
        setOpen(false);
        setActive(-1);
      } else if (text !== '') {
        setText('');
      } else {
        inputRef.current?.blur();
      }
    }
  };

  return (
    <form
      ref={box}
      role="search"
      className="search-box"
      onSubmit={(event) => {
        event.preventDefault();
        search(list[active]?.text ?? text);
      }}
      onBlur={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget)) {
          setOpen(false);
          setActive(-1);
        }
      }}
    >
      <Icon name="search" size={20} />
      <input
        ref={inputRef}
        type="text"
        inputMode="search"
        enterKeyHint="search"
        aria-label="Search"
        placeholder="What are you looking for?"
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        maxLength={1000}
        role="combobox"
        aria-expanded={shown}
        aria-controls={listId}
        aria-autocomplete="list"
        aria-activedescendant={active >= 0 && shown ? `${listId}-${active}` : undefined}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setOpen(true);
          setActive(-1);
        }}
        onKeyDown={onKeyDown}
      />
      {text === '' ? (
        <kbd className="search-key" aria-hidden="true">
          /
        </kbd>
      ) : (
        <button
          type="button"
          className="icon-button"
          aria-label="Clear the search box"
          onClick={() => {
            setText('');
            inputRef.current?.focus();
          }}
        >
          <Icon name="close" />
        </button>
      )}
      <button type="submit" className="search-submit">
        Search
      </button>
      <ul id={listId} role="listbox" aria-label="Completions" hidden={!shown} className="completions">
        {list.map((completion, i) => (
          <li
            key={completion.text}
            id={`${listId}-${i}`}
            role="option"
            aria-selected={i === active}
            onPointerDown={(event) => event.preventDefault()}
            onClick={() => search(completion.text)}
          >
            <Icon name={completion.source === 'own' ? 'clock' : 'search'} size={16} />
            <span>{completion.text}</span>
            <small>{SOURCES[completion.source] || completion.type || ''}</small>
          </li>
        ))}
      </ul>
    </form>
  );
}
