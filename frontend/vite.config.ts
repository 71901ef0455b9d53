import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// `npm run dev` serves the pages and passes API calls on to a running service.
const service = process.env.ATTUNE_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  server: { proxy: { '/api': service, '/v1': service, '/v3': service, '/actuator': service } },
});
