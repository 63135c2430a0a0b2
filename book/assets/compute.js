// What the controls of the book compute in the page: exact laws and closed forms, all in double precision. Each
// formula is held against the library by tests/test_controls.py.
window.sslCompute = (() => {
  "use strict";
  const range = (n, from = 0) => Array.from({ length: n }, (_, k) => from + k);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const dot = (a, b) => a.reduce((total, value, k) => total + value * b[k], 0);
  const norm = (a) => Math.sqrt(dot(a, a));
  const times = (matrix, vector) => matrix.map((row) => dot(row, vector));
  const transposed = (matrix) => matrix[0].map((_, j) => matrix.map((row) => row[j]));
  const sinc = (x) => (x === 0 ? 1 : Math.sin(x) / x);
  const logistic = (x) => 1 / (1 + Math.exp(-x));

  // Linear algebra: eigenvalues, ascending, and eigenvectors of a symmetric matrix, by Jacobi's rotations.
  const symmetricEigen = (matrix) => {
    const n = matrix.length, a = matrix.map((row) => [...row]);
    const v = range(n).map((i) => range(n).map((j) => Number(i === j)));
    for (let sweep = 0; sweep < 60; sweep++) {
      let off = 0, all = 0;
      for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) { all += a[i][j] ** 2; if (i !== j) off += a[i][j] ** 2; }
      if (off <= 1e-34 * all) break;
      for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) {
        if (a[p][q] === 0) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(theta, 1)), c = 1 / Math.hypot(t, 1), s = t * c;
        for (let k = 0; k < n; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
        for (let k = 0; k < n; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
        for (let k = 0; k < n; k++) [v[k][p], v[k][q]] = [c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]];
      }
    }
    const order = range(n).sort((i, j) => a[i][i] - a[j][j]);
    return { values: order.map((i) => a[i][i]), vectors: order.map((i) => v.map((row) => row[i])) };
  };

  // Lucky neurons: P(|Y| ≥ v sd Y) of a neuron with n equal inputs (T10). Few inputs by the sum over signs, many
  // by the Fourier series, whose terms fall like k^(−1−n).
  const luckyTail = (n, v) => {
    const reach = Math.sqrt(3 * n);
    if (v <= 0) return 1;
    if (v >= reach) return 0;
    const b = reach / n;
    if (n <= 6) {
      let total = 0, ways = 1, factorial = 1;
      for (let k = 0; k <= n; k++) {
        const rest = (reach - 2 * b * k - v) / (2 * b);
        if (rest <= 0) break;
        total += ways * rest ** n;
        ways *= -(n - k) / (k + 1);
      }
      for (let k = 2; k <= n; k++) factorial *= k;
      return (2 * total) / factorial;
    }
    let result = 1 - v / reach;
    for (let k = 1; k < 2000; k++) {
      const bound = (2 / (Math.PI * k)) * Math.min(1, n / (Math.PI * k)) ** n;
      result -= (2 / (Math.PI * k)) * sinc((Math.PI * k) / n) ** n * Math.sin((Math.PI * k * v) / reach);
      if (bound < 1e-17) break;
    }
    return Math.min(1, Math.max(0, result));
  };
  const noneLucky = (p, neurons) => (p >= 1 ? 0 : Math.exp(neurons * Math.log1p(-p)));
  const neuronsEnough = (p, failure) => (p <= 0 ? Infinity : p >= 1 ? 1 : Math.ceil(Math.log(failure) / Math.log1p(-p)));

  // A ReLU neuron on a ring: δ = K̄(11) − K̄(101), the gap γ = δ·w, and one step of descent, renormalised (T6).
  const ringSeparation = (w) => {
    const n = w.length, delta = w.map(() => 0);
    for (let k = 0; k < n; k++)
      for (const [distance, sign] of [[1, 1], [2, -1]])
        if (w[k] + w[(k + distance) % n] > 0) {
          delta[k] += sign / n;
          delta[(k + distance) % n] += sign / n;
        }
    return delta;
  };
  const ringStep = (w, eta) => {
    const delta = ringSeparation(w), gap = dot(delta, w);
    const moved = w.map((value, k) => value + 0.5 * eta * gap * delta[k]), size = norm(moved);
    return moved.map((value) => value / size);
  };

  // Beliefs on a binary tree: m_ν = E[2z_ν − 1 | pixels below ν] for pixels 0 and 1, by messages (T11). An edge of
  // polarity ρ below a node of mean q keeps the child's mean at its own.
  const beliefMeans = (parents, polarities, pixels) => {
    const odds = parents.map(() => [1, 1]), means = parents.map(() => 0), inner = new Set(parents);
    const leaves = range(parents.length).filter((node) => !inner.has(node));
    leaves.forEach((leaf, k) => { odds[leaf] = pixels[k] ? [0, 1] : [1, 0]; });
    for (let node = parents.length - 1; node >= 0; node--) {
      const [zero, one] = odds[node], total = zero + one;
      means[node] = (one - zero) / total;
      if (parents[node] < 0) continue;
      const rho = polarities[node], up = odds[parents[node]];
      const [same, other] = [(1 + rho) / 2, (1 - rho) / 2];
      up[0] *= (same * zero + other * one) / total;
      up[1] *= (other * zero + same * one) / total;
    }
    return means;
  };
  const patternLaw = (parents, polarities, pixels) => {
    const messages = parents.map(() => [1, 1]), inner = new Set(parents);
    const leaves = range(parents.length).filter((node) => !inner.has(node));
    leaves.forEach((leaf, k) => { messages[leaf] = pixels[k] ? [0, 1] : [1, 0]; });
    for (let node = parents.length - 1; node > 0; node--) {
      const rho = polarities[node], [zero, one] = messages[node], up = messages[parents[node]];
      up[0] *= ((1 + rho) * zero + (1 - rho) * one) / 2;
      up[1] *= ((1 - rho) * zero + (1 + rho) * one) / 2;
    }
    return (messages[0][0] + messages[0][1]) / 2;
  };
  // Limits κ_ν = sd m_ν of all latents, the eigenvalue λ_1 = κ_0² and all values m_0/κ_0 of the eigenfunction (T14).
  const beliefLimits = (parents, polarities) => {
    const leaves = parents.length - new Set(parents.slice(1)).size, squares = parents.map(() => 0), roots = [];
    for (let code = 0; code < 2 ** leaves; code++) {
      const pixels = range(leaves).map((k) => (code >> (leaves - 1 - k)) & 1);
      const law = patternLaw(parents, polarities, pixels), means = beliefMeans(parents, polarities, pixels);
      means.forEach((mean, node) => { squares[node] += law * mean * mean; });
      roots.push(means[0]);
    }
    const limits = squares.map(Math.sqrt);
    return { limits, eigenvalue: squares[0], eigenfunction: roots.map((mean) => mean / limits[0]) };
  };

  // Strength against temperature: E[ξ (r_− − r_+)] = w_lᵀ OP_l w_l of every layer, InfoNCE, one negative (T4).
  const forward = (weights, view) =>
    weights.reduce((f, w, l) => { const next = times(w, f); return l + 1 < weights.length ? next.map((x) => Math.max(x, 0)) : next; }, view);
  const halfSquares = (f, g) => 0.5 * sum(f.map((value, k) => (value - g[k]) ** 2));
  const growth = (outputs, tau) => {
    const objects = outputs.length, views = outputs[0].length;
    let total = 0;
    for (const own of outputs) for (const f of own) {
      const far = outputs.flat().map((g) => halfSquares(f, g));
      for (const near of own.map((g) => halfSquares(f, g)))
        for (const r of far) total += (logistic(-(r - near) / tau) / tau) * (r - near);
    }
    return total / (objects * views * views * objects * views);
  };
  const outputsAt = (weights, objects, noise, strength) =>
    objects.map((x, i) => noise[i].map((omega) => forward(weights, x.map((value, k) => value + strength * omega[k]))));

  // The vote of a level: shares g_μ(t) under dW/dt = c B_μᵀ g a_μᵀ, coupled or each node alone (T9). `blocks` holds
  // ρ_{0μ}‖a_μ‖J_μ, `gaps` W_μ a_μ/‖a_μ‖ of each node, `rate` 1 − ρ_0².
  const products = (blocks, outputs) => {
    const m = range(outputs).map(() => range(outputs).map(() => 0));
    for (const block of blocks) for (let i = 0; i < outputs; i++) for (let j = 0; j < outputs; j++) m[i][j] += dot(block[i], block[j]);
    return m;
  };
  const integrated = (matrix, rate, vector, t) => {
    const { values, vectors } = symmetricEigen(matrix.map((row) => row.map((x) => rate * x)));
    const result = vector.map(() => 0);
    vectors.forEach((axis, k) => {
      const size = (Math.abs(values[k] * t) < 1e-300 ? t : Math.expm1(values[k] * t) / values[k]) * dot(axis, vector);
      axis.forEach((x, i) => { result[i] += size * x; });
    });
    return result;
  };
  const sharesAt = (blocks, gaps, rate, t, coupled) => {
    const outputs = blocks[0].length, shares = blocks.map((block, m) => times(block, gaps[m]).map((x) => 2 * x));
    const all = range(outputs).map((i) => sum(shares.map((share) => share[i])));
    return shares.map((share, m) => {
      const pull = coupled ? integrated(products(blocks, outputs), rate, all, t) : integrated(products([blocks[m]], outputs), rate, share, t);
      return times(products([blocks[m]], outputs), pull).map((x, i) => share[i] + rate * x);
    });
  };
  const fastestRate = (blocks, rate) => rate * symmetricEigen(products(blocks, blocks[0].length)).values.at(-1);

  // Pulling harder: the spectrum of Σ − βΣ_aug, and ‖W(t)‖²/‖W(0)‖² of a linear layer W(t) = W(0) e^{2t(Σ−βΣ_aug)} (T5).
  const pulled = (between, within, beta) => symmetricEigen(between.map((row, i) => row.map((x, j) => x - beta * within[i][j])));
  const normsUnder = ({ values, vectors }, start, moments) => {
    const parts = vectors.map((axis) => sum(start.map((row) => dot(row, axis) ** 2))), total = sum(parts);
    return moments.map((t) => sum(parts.map((part, k) => part * Math.exp(4 * t * values[k]))) / total);
  };

  // What each control shows at a position ------------------------------------------------------------------------

  const cached = (make) => {
    let key = null, value = null;
    return (...given) => {
      const text = JSON.stringify(given);
      if (text !== key) [key, value] = [text, make(...given)];
      return value;
    };
  };
  const tailOn = cached((fan, grid) => grid.map((v) => luckyTail(fan, v)));
  const interpolated = (target, xs, ys) => {
    const k = xs.findIndex((x) => x >= target);
    if (k < 0) return ys.at(-1);
    return k === 0 ? ys[0] : ys[k - 1] + ((target - xs[k - 1]) / (xs[k] - xs[k - 1])) * (ys[k] - ys[k - 1]);
  };
  const limitsOf = cached(beliefLimits);
  const growthOn = cached((tau, { weights, objects, noise, strengths }) =>
    strengths.map((s) => growth(outputsAt(weights, objects, noise, s), tau)));
  const signsOn = cached(({ weights, objects, noise, strengths, taus }) =>
    taus.map((tau) => strengths.map((s) => Math.sign(growth(outputsAt(weights, objects, noise, s), tau)))).reverse());

  const pictures = {
    lucky({ fan, neurons, threshold }, { grid }) {
      const p = tailOn(fan, grid), none = p.map((chance) => noneLucky(chance, neurons));
      const density = none.slice(1).map((value, k) => (value - none[k]) / (grid[k + 1] - grid[k]));
      const middle = grid.slice(1).map((v, k) => (v + grid[k]) / 2), chance = luckyTail(fan, threshold);
      const enough = neuronsEnough(chance, 0.05);
      return {
        density, lucky: middle.map((v, k) => (v >= threshold ? density[k] : null)),
        median: interpolated(0.5, none, grid), bound: Math.sqrt(2 * Math.log(2 * neurons)), ceiling: Math.sqrt(3 * fan),
        edge: threshold, some: 1 - noneLucky(chance, neurons), chance,
        enough: chance > 0 ? `${enough} neurons reach it` : "no number of neurons reaches it",
      };
    },

    ring({ angle, steps }, { first, second, eta }) {
      const psi = (angle * Math.PI) / 180;
      let w = first.map((x, k) => x * Math.cos(psi) + second[k] * Math.sin(psi));
      const size = norm(w), path = [];
      w = w.map((x) => x / size);
      path.push(w);
      for (let k = 0; k < 150; k++) path.push((w = ringStep(w, eta)));
      const gaps = path.map((at) => dot(ringSeparation(at), at)), now = path[steps], n = now.length;
      const counts = ringSeparation(now).map((x) => Math.round(n * x)), top = Math.max(...now.map(Math.abs));
      const place = range(n).map((k) => [Math.sin((2 * Math.PI * k) / n), Math.cos((2 * Math.PI * k) / n)]);
      const lines = (distance, axis) => range(n).flatMap((k) => {
        const other = (k + distance) % n;
        return now[k] + now[other] > 1e-9 ? [place[k][axis], place[other][axis], null] : [null];
      });
      const blind = ringSeparation(path[0]).every((x) => Math.abs(x) < 1e-12);
      return {
        near_x: lines(1, 0), near_y: lines(1, 1), far_x: lines(2, 0), far_y: lines(2, 1),
        sizes: now.map((x) => 5 + (23 * Math.abs(x)) / top), colours: now.map((x) => (x > 0 ? "vermilion" : "blue")),
        counts: counts.map((x) => (x > 0 ? `+${x}` : x < 0 ? `−${-x}` : "0")),
        gaps, now: steps, gap: gaps[steps], end: gaps.at(-1),
        fate: blind ? "blind: it stays where it is" : gaps.at(-1) > 0 ? "learns “11”" : "learns “101”",
      };
    },

    beliefs({ pixels, rho }, { parents }) {
      const polarities = parents.map((_, node) => (node ? rho : 0)), means = beliefMeans(parents, polarities, pixels);
      const { limits, eigenvalue, eigenfunction } = limitsOf(parents, polarities);
      const sorted = [...eigenfunction].sort((a, b) => a - b), value = means[0] / limits[0];
      const inner = new Set(parents), nodes = range(parents.length).filter((node) => inner.has(node));
      return {
        means, sorted, value, rank: sum(sorted.map((x) => Number(x < value - 1e-9))) + (sum(sorted.map((x) => Number(Math.abs(x - value) <= 1e-9))) - 1) / 2,
        root: means[0], limit: limits[0], eigenvalue, sizes: nodes.map((node) => Math.abs(means[node])),
        limits: nodes.map((node) => limits[node]), widths: polarities,
      };
    },

    strength({ s, tau }, data) {
      const curve = growthOn(tau, data), here = growth(outputsAt(data.weights, data.objects, data.noise, s), tau);
      const scale = Math.max(...curve.map(Math.abs));
      return {
        signs: signsOn(data), curve: curve.map((x) => x / scale), here: here / scale, s, tau, growth: here,
        word: here > 0 ? "grow" : "shrink",
      };
    },

    vote({ outputs, nodes, law, time }, { blocks, gaps, rate }) {
      const chosen = blocks.slice(0, nodes).map((block) => block.slice(0, outputs));
      const shares = sharesAt(chosen, gaps, rate, time / fastestRate(chosen, rate), law === "coupled");
      const gap = range(outputs).map((i) => sum(shares.map((share) => share[i])));
      const cosines = shares.map((share) => dot(share, gap) / (norm(share) * norm(gap)));
      const flat = shares.map((share) => [share[0], share[1] || 0]);
      const tails = flat.map((_, m) => [0, 1].map((i) => sum(flat.slice(0, m).map((share) => share[i]))));
      const ends = [...tails, [0, 1].map((i) => sum(flat.map((share) => share[i])))];
      const bounds = [0, 1].map((i) => [Math.min(...ends.map((p) => p[i])), Math.max(...ends.map((p) => p[i]))]);
      const reach = Math.max(...bounds.map(([low, high]) => high - low)) / 2, middle = bounds.map(([low, high]) => (low + high) / 2);
      const pad = (values) => range(blocks.length).map((m) => (m < nodes ? values[m] : null));
      return {
        tail_x: pad(tails.map((p) => (p[0] - middle[0]) / reach)), tail_y: pad(tails.map((p) => (p[1] - middle[1]) / reach)),
        from_x: -middle[0] / reach, from_y: -middle[1] / reach,
        share_x: pad(flat.map((p) => p[0] / reach)), share_y: pad(flat.map((p) => p[1] / reach)),
        gap_x: ends.at(-1)[0] / reach, gap_y: ends.at(-1)[1] / reach, cosines: pad(cosines),
        against: cosines.filter((x) => x < 0).length, size: norm(gap), worst: Math.min(...cosines),
      };
    },

    pulling({ beta }, { between, within, threshold, start, moments, pace }) {
      const found = pulled(between, within, beta * threshold), grid = range(61).map((k) => (2 * k) / 60);
      const spectra = transposed(grid.map((factor) => pulled(between, within, factor * threshold).values));
      const norms = normsUnder(found, start, moments.map((t) => t * pace)), top = found.values.at(-1);
      return {
        ...Object.fromEntries(spectra.map((curve, k) => [`curve_${k + 1}`, curve])), values: found.values, here: found.values.map(() => beta),
        norms, top, growing: found.values.filter((x) => x > 0).length, word: top > 0 ? "some direction still grows" : "everything shrinks",
      };
    },
  };

  const formulas = {
    symmetricEigen, luckyTail, noneLucky, neuronsEnough, ringSeparation, ringStep, beliefMeans, patternLaw, beliefLimits,
    growth, outputsAt, sharesAt, fastestRate, pulled, normsUnder,
  };
  return { formulas, pictures };
})();
