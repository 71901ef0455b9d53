import { Switch } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import * as api from '../../api';
import { ErrorNotice, Skeletons } from '../../components/Parts';
import { count } from '../../lib/words';
import { forgetSearches } from '../search/useSearchStream';

/** What the service may do with this person's activity, in every session. */
export function StoreSettings({ userId }: { userId: string }) {
  const queries = useQueryClient();
  const key = ['user', userId, 'settings'];
  const settings = useQuery({ queryKey: key, queryFn: ({ signal }) => api.settings(userId, signal) });
  const save = useMutation({
    mutationFn: (value: api.Settings) => api.saveSettings(userId, value),
    onSuccess: (saved) => {
      queries.setQueryData(key, saved);
      forgetSearches();
    },
  });
  const value = settings.data;
  const days = value?.retentionDays ?? value?.defaultRetentionDays;
  return (
    <section className="card" aria-label="Settings">
      <h2>Settings</h2>
      {settings.isPending && <Skeletons rows={2} className="skeleton-entity" />}
      {settings.isError && <ErrorNotice error={settings.error} retry={() => void settings.refetch()} />}
      {value && (
        <div className="switches">
          <Switch
            label="Personalization"
            description="Use this store for results and suggestions."
            checked={value.personalization === 'on'}
            disabled={save.isPending}
            onChange={(event) => save.mutate({ ...value, personalization: event.currentTarget.checked ? 'on' : 'off' })}
          />
          <Switch
            label="Learning"
            description="Add what you search and open to this store."
            checked={value.learning === 'on'}
            disabled={save.isPending}
            onChange={(event) => save.mutate({ ...value, learning: event.currentTarget.checked ? 'on' : 'paused' })}
          />
          {days != null && <p className="dim small">What is older than {count(days, 'day')} is forgotten by itself.</p>}
        </div>
      )}
      {save.isError && <ErrorNotice error={save.error} />}
    </section>
  );
}
