import { Button, Checkbox, Modal } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import * as api from '../../api';
import { Icon } from '../../components/Icon';
import { ErrorNotice, Time } from '../../components/Parts';
import { displayName } from '../../lib/who';
import { number } from '../../lib/words';
import { forgetSearches } from '../search/useSearchStream';

/** Take the data along, or have all of it erased. */
export function Data({ userId }: { userId: string }) {
  const [asking, setAsking] = useState(false);
  const [sure, setSure] = useState(false);
  const [receipt, setReceipt] = useState<api.Receipt | null>(null);
  const queries = useQueryClient();
  const erase = useMutation({
    mutationFn: () => api.erase(userId),
    onSuccess: (answer) => {
      setReceipt(answer);
      setAsking(false);
      setSure(false);
      forgetSearches();
      void queries.invalidateQueries({ queryKey: ['user', userId] });
      void queries.invalidateQueries({ queryKey: ['users'] });
      void queries.invalidateQueries({ queryKey: ['admin'] });
    },
  });
  const name = displayName(userId);
  return (
    <section className="card" aria-label="Your data">
      <h2>Your data</h2>
      <p className="dim small">Everything held about you, as one JSON file: searches, visits and what was learned.</p>
      <Button
        component="a"
        href={api.exportUrl(userId)}
        download={`attune-${userId}.json`}
        variant="default"
        leftSection={<Icon name="download" size={16} />}
      >
        Download
      </Button>
      <hr />
      <p className="dim small">
        Erasing removes your searches, visits and store for good. It cannot be undone, and it does not touch the log of
        the application that sent your activity here.
      </p>
      <Button variant="default" className="danger" onClick={() => setAsking(true)}>
        Erase everything…
      </Button>
      {receipt && <ReceiptNote receipt={receipt} />}
      <Modal
        opened={asking}
        onClose={() => setAsking(false)}
        title={`Erase everything about ${name}?`}
        closeButtonProps={{ 'aria-label': 'Close' }}
      >
        <div className="stack">
          <p>
            Searches, visits, learned entities, settings and what was forgotten are removed from the database, the
            indexes and the caches. Nobody can bring them back. Download them before, if you want to keep a copy.
          </p>
          <Checkbox
            label="I understand that this cannot be undone"
            checked={sure}
            onChange={(event) => setSure(event.currentTarget.checked)}
          />
          {erase.isError && <ErrorNotice error={erase.error} />}
          <div className="buttons">
            <Button variant="default" onClick={() => setAsking(false)}>
              Keep it
            </Button>
            <Button color="red.9" disabled={!sure} loading={erase.isPending} onClick={() => erase.mutate()}>
              Erase
            </Button>
          </div>
        </div>
      </Modal>
    </section>
  );
}

function ReceiptNote({ receipt }: { receipt: api.Receipt }) {
  const [file] = useState(() =>
    URL.createObjectURL(new Blob([JSON.stringify(receipt, null, 2)], { type: 'application/json' })),
  );
  return (
    <div className="receipt" role="status">
      <h3>Erased</h3>
      <p className="small">
        <Time at={receipt.erasedAt} />, {number(receipt.remaining)} records remain.
      </p>
      <dl className="fields fields-small">
        {Object.entries(receipt.counts).map(([what, count]) => (
          <div key={what}>
            <dt>{what}</dt>
            <dd>{number(count)}</dd>
          </div>
        ))}
      </dl>
      <a href={file} download={`attune-erasure-${receipt.receiptId}.json`}>
        Save the receipt
      </a>
    </div>
  );
}
