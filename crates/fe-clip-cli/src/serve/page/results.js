// Results as files.

function offer(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A result without its map, with what the threshold makes of it.
function record(item, result, threshold) {
  if (!result) return { path: item.file.name, error: item.error ?? "not judged yet" };
  const { map, places, ...rest } = result;
  const label = result.score >= threshold ? "anomalous" : "normal";
  const regions = findRegions(map, threshold, result.width, result.height);
  return { ...rest, label, threshold, regions, ...(places ? { looked_at: places } : {}) };
}

const CSV_COLUMNS = ["path", "score", "label", "map_max", "width", "height", "threshold", "regions", "normals", "error", "raw_score"];

function csv(records) {
  const cell = (value) => {
    let text = String(value ?? "");
    if (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text))) text = `'${text}`; // no formula
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const line = (record) => {
    const flat = { ...record, regions: record.regions?.length, normals: record.normals?.images };
    return CSV_COLUMNS.map((column) => cell(flat[column])).join(",");
  };
  return [CSV_COLUMNS.join(","), ...records.map(line), ""].join("\r\n");
}
