import { Button } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import * as api from '../../api';
import { Icon } from '../../components/Icon';
import { Time } from '../../components/Parts';
import { RemovalDialog } from '../../components/RemovalDialog';
import { displayName } from '../../lib/who';
import { number } from '../../lib/words';
import { forgetSearches } from '../search/useSearchStream';

/** Take the data along, or have all of it erased. */
export function Data({ userId }: { userId: string }) {
  const [asking, setAsking] = useState(false);
  const [receipt, setReceipt] = useState<api.Receipt | null>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const queries = useQueryClient();
  const erased = (answer: api.Receipt) => {
    setReceipt(answer);
    forgetSearches();
    void queries.invalidateQueries({ queryKey: ['user', userId] });
    void queries.invalidateQueries({ queryKey: ['users'] });
    void queries.invalidateQueries({ queryKey: ['admin'] });
  };
  const name = displayName(userId);
  return (
    <section className="card" aria-label="Your data">
      <h2 ref={heading} tabIndex={-1}>
        Your data
      </h2>
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
      <RemovalDialog
        opened={asking}
        title={`Erase everything about ${name}?`}
        verb="Erase"
        acknowledge="I understand that this cannot be undone"
        remove={() => api.erase(userId)}
        onRemoved={erased}
        onClose={() => setAsking(false)}
        landing={heading}
      >
        Searches, visits, learned entities, settings and what was forgotten are removed from the database, the indexes
        and the caches. Nobody can bring them back. Download them before, if you want to keep a copy.
      </RemovalDialog>
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
