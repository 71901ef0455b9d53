const numbers = new Intl.NumberFormat('en');
const fractions = new Intl.NumberFormat('en', { maximumSignificantDigits: 6 });

/** 12,957; what is below 1 with six digits: 0.00001 */
export function number(value: number): string {
  return (Math.abs(value) < 1 ? fractions : numbers).format(value);
}

/** “1 film”, “2 films”, “3 entities”. */
export function count(value: number, one: string, many = one + 's'): string {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** “Ana”, “Ana and Ben”, “Ana, Ben and Cleo”. */
export function list(words: string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words[words.length - 1]}`;
}

/** Up to two letters that stand for a title while it has no picture. */
export function initials(title: string): string {
  const words = title.match(/[\p{L}\p{N}]+/gu) ?? [];
  const telling = words.filter((word) => !/^(the|a|an|of|and|in|to)$/i.test(word));
  return (telling.length > 0 ? telling : words)
    .slice(0, 2)
    .map((word) => [...word][0]!.toUpperCase())
    .join('');
}

/** A file size such as 1.4 GB. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${size >= 100 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** Of what suggestions had to do without, what is worth a word: what the back-off stands in for only where it stands. */
export function worthSaying(degraded: string[], suggestions: number): string[] {
  return degraded.filter((part) => suggestions > 0 || !['generation', 'context'].includes(part));
}

/** What an answer had to do without, in words for the person who reads it. */
export function degradation(part: string, context: { model: string | null }): string {
  switch (part) {
    case 'ranking':
      return context.model === null
        ? 'Ranked by retrieval only: the ranking model was not ready in time.'
        : 'The ranking model ran out of time: documents it had not read keep their retrieval order.';
    case 'retrieval':
      return 'Part of the index did not answer; more may match than is shown.';
    case 'embedding':
      return 'Found by words only: the embedding model is not ready yet.';
    case 'personalization':
      return 'Your store could not be read in time: these results are the same for everybody.';
    case 'log':
      return 'This search could not be written to your log, so nothing is learned from it.';
    case 'suggestions':
      return 'No suggestions this time: making them failed.';
    case 'model':
      return 'Suggested without the language model: it is not loaded yet.';
    case 'budget':
      return 'The language model had too little time: fewer suggestions, or simpler ones.';
    case 'generation':
      return 'The language model had nothing good to say: these come from searches and names that go together.';
    case 'context':
      return 'No name that is known fits here, so these come from what you typed and from searches of several people.';
    case 'backoff':
      return 'Searches and names that go together could not be read.';
    default:
      return `This answer had to do without ${part}.`;
  }
}
