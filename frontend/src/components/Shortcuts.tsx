import { Modal } from '@mantine/core';

const KEYS: [string[], string][] = [
  [['/'], 'Go to the search box'],
  [['↑', '↓'], 'Move through completions, then through results'],
  [['Enter'], 'Search, or open the result'],
  [['Esc'], 'Close what is open; from a result, back to the search box'],
  [['?'], 'This help'],
];

export function Shortcuts({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keyboard shortcuts" closeButtonProps={{ 'aria-label': 'Close' }}>
      <dl className="shortcuts">
        {KEYS.map(([keys, meaning]) => (
          <div key={meaning}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
