import { Button, Popover, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import * as api from '../api';
import { displayName, shortName, useWho } from '../lib/who';
import type { Privacy } from '../router';
import { Icon } from './Icon';

export const PRIVACY: Record<Privacy, { label: string; meaning: string }> = {
  on: { label: 'On', meaning: 'What you looked for, and what is close to it, shapes results and suggestions.' },
  history: { label: 'Own history only', meaning: 'Only what you looked for yourself counts.' },
  off: { label: 'Off', meaning: 'Results are the same as for everybody. Searches still go into your log.' },
  private: { label: 'Private session', meaning: 'Nothing about you is sent, nothing is logged or learned.' },
};

/** The users to choose from; empty where this is not allowed to be seen. */
export function useUsers() {
  return useQuery({
    queryKey: ['users', 'menu'],
    queryFn: ({ signal }) => api.adminUsers({ page: 0, size: 50, sort: 'userId' }, signal),
    staleTime: 60_000,
  });
}

/** Who is searching, and how much of them a search may use. */
export function UserMenu() {
  const who = useWho();
  const [opened, setOpened] = useState(false);
  const [own, setOwn] = useState('');
  const users = useUsers();
  const state = PRIVACY[who.privacy].label;
  const name = who.name === undefined ? 'Nobody' : displayName(who.name);
  const known = users.data?.items ?? [];
  const listed = who.name === undefined || known.some((user) => user.userId === who.name);

  return (
    <Popover
      opened={opened}
      onChange={setOpened}
      position="bottom-end"
      width={340}
      shadow="md"
      trapFocus
      returnFocus
      withinPortal
      transitionProps={{ duration: 120 }}
    >
      <Popover.Target>
        <button
          type="button"
          className="user-button"
          onClick={() => setOpened((before) => !before)}
        >
          <Icon name={who.privacy === 'private' ? 'lock' : 'person'} />
          <span className="user-button-text">
            <span className="sr-only">Searching as </span>
            <span className="user-name">{name}</span>
            <span className="sr-only">, personalization: </span>
            <span className="user-state">{state}</span>
          </span>
          <Icon name="chevron" size={14} />
        </button>
      </Popover.Target>
      <Popover.Dropdown className="user-menu" aria-label="Who is searching">
        <fieldset>
          <legend>Searching as</legend>
          <div className="user-options">
            <Choice name="user" checked={who.name === undefined} onChange={() => who.change({ user: undefined, p: undefined })}>
              Nobody <small>private session</small>
            </Choice>
            {!listed && who.name !== undefined && (
              <Choice name="user" checked onChange={() => undefined}>
                {displayName(who.name)}
              </Choice>
            )}
            {known.map((user) => (
              <Choice
                key={user.userId}
                name="user"
                checked={who.name === user.userId}
                onChange={() => who.change({ user: user.userId })}
              >
                {shortName(user.userId)}
                {user.simulated && <small>simulated</small>}
              </Choice>
            ))}
          </div>
        </fieldset>
        <form
          className="own-name"
          onSubmit={(event) => {
            event.preventDefault();
            if (own.trim() !== '') {
              who.change({ user: own.trim() });
              setOwn('');
            }
          }}
        >
          <TextInput
            label="Or a name of your own"
            size="sm"
            maxLength={100}
            value={own}
            onChange={(event) => setOwn(event.currentTarget.value)}
            placeholder="for example maria"
            autoComplete="off"
          />
          <Button type="submit" size="sm" variant="default">
            Use
          </Button>
        </form>
        <fieldset>
          <legend>Personalization</legend>
          {(Object.keys(PRIVACY) as Privacy[]).map((privacy) => (
            <Choice
              key={privacy}
              name="privacy"
              checked={who.privacy === privacy}
              disabled={who.name === undefined && privacy !== 'private'}
              onChange={() => who.change({ p: privacy === 'on' ? undefined : privacy })}
            >
              {PRIVACY[privacy].label}
              <span className="choice-meaning">{PRIVACY[privacy].meaning}</span>
            </Choice>
          ))}
        </fieldset>
      </Popover.Dropdown>
    </Popover>
  );
}

function Choice(props: {
  name: string;
  checked: boolean;
  disabled?: boolean;
  onChange: () => void;
  children: React.ReactNode;
}) {
  return (
    <label className={props.disabled ? 'choice choice-disabled' : 'choice'}>
      <input
        type="radio"
        name={props.name}
        checked={props.checked}
        disabled={props.disabled}
        onChange={props.onChange}
      />
      <span>{props.children}</span>
    </label>
  );
}
