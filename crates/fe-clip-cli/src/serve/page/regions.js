// Where a map reaches a threshold: the same regions as the server's, so that the slider needs no
// request. map: { rows, columns, values, extent }.
function findRegions(map, threshold, width, height) {
  const { rows, columns, values, extent } = map;
  // 0 is what stands where nothing was looked at, and no part of any region.
  const level = Math.max(Math.fround(threshold), 2 ** -126);
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  const across = (column) => clamp(extent.left + column * (extent.width / columns), width);
  const down = (row) => clamp(extent.top + row * (extent.height / rows), height);
  const seen = new Uint8Array(values.length);
  const regions = [];
  for (let first = 0; first < values.length; first++) {
    if (seen[first] || !(values[first] >= level)) continue;
    let left = columns, right = 0, top = rows, bottom = 0, area = 0, peak = -Infinity;
    const open = [first];
    seen[first] = 1;
    while (open.length) {
      const at = open.pop();
      const row = Math.floor(at / columns), column = at % columns;
      left = Math.min(left, column);
      right = Math.max(right, column + 1);
      top = Math.min(top, row);
      bottom = Math.max(bottom, row + 1);
      area += (across(column + 1) - across(column)) * (down(row + 1) - down(row));
      peak = Math.max(peak, values[at]);
      for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, rows - 1); y++) {
        for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, columns - 1); x++) {
          const next = y * columns + x;
          if (!seen[next] && values[next] >= level) {
            seen[next] = 1;
            open.push(next);
          }
        }
      }
    }
    const x = Math.floor(across(left)), y = Math.floor(down(top));
    const region = {
      x, y, width: Math.ceil(across(right)) - x, height: Math.ceil(down(bottom)) - y,
      area: Math.round(area), peak,
    };
    if (region.area > 0) regions.push(region);
  }
  return regions.sort((a, b) => b.peak - a.peak);
}
