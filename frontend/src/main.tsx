import '@mantine/core/styles.css';
import { MantineProvider } from '@mantine/core';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <MantineProvider defaultColorScheme="auto">
      <main>
        <h1>Attune</h1>
        <p>Search that remembers what you were looking for.</p>
      </main>
    </MantineProvider>
  </StrictMode>,
);
