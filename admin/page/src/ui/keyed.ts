// Keys of lists whose items have no name of their own.

/** keyed gives each item a key of its own: its name, and which of that name it is if it is not the first. */
export function keyed<T>(items: readonly T[], name: (item: T) => string): [key: string, item: T][] {
  const seen = new Map<string, number>();
  return items.map((item) => {
    const is = name(item);
    const n = (seen.get(is) ?? 0) + 1;
    seen.set(is, n);
    return [n > 1 ? `${is}\u0000${n}` : is, item];
  });
}
