// A choice of what a list shows, or in which order.

/** Choice is one of options, each a value and its name. */
export function Choice({ label, value, options, choose }: { label: string; value: string; options: (readonly [string, string])[]; choose: (value: string) => void }) {
  return (
    <label class="sort">
      <span>{label}</span>
      <select value={value} onChange={(e) => choose(e.currentTarget.value)}>
        {options.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
