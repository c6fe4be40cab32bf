"use strict";
// Draws each chart when it comes near the screen, in the colours of the theme; legends are buttons, so that keys reach them.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 700px)");
  // Its bar of buttons offers to upload a chart, and hides what is below; a double click undoes a zoom.
  const config = { displayModeBar: false, responsive: true, showTips: false };
  const figures = new Map();

  const theme = (printing) => {
    const light = printing || !dark.matches;
    return { text: light ? "#1c2430" : "#e3e8ee", grid: light ? "#dde2e8" : "#39424e", hover: light ? "#ffffff" : "#1b222b" };
  };

  // What stands out from white does not from a dark ground: each colour has its other.
  const others = Object.entries(JSON.parse(document.querySelector("main").dataset.dark));
  const lit = (data, printing) => printing || !dark.matches ? data
    : JSON.parse(others.reduce((text, [light, other]) => text.replaceAll(light, other), JSON.stringify(data)));

  // As wide as a printed page of A4 or US letter, whichever is narrower, less its margins, in CSS pixels.
  const PRINTED = 680;
  const LONGEST_TICK = 20;

  const plain = (text) => new DOMParser().parseFromString(text, "text/html").documentElement.textContent;
  const escaped = (text) => Object.assign(document.createElement("span"), { textContent: text }).innerHTML;
  const cut = (text) => {
    const name = [...plain(text)];
    return name.length <= LONGEST_TICK ? text : escaped(`${name.slice(0, 8).join("")}…${name.slice(-11).join("")}`);
  };

  // What a phone cannot show beside each other stands below each other, and long names make room for what they name.
  const narrowed = (layout) => {
    const made = { ...layout };
    if (layout.grid) {
      const cells = layout.grid.rows * layout.grid.columns;
      made.grid = { ...layout.grid, rows: cells, columns: 1 };
      made.height = 90 + (layout.height - 90) * layout.grid.columns;
    }
    made.yaxis = { ...layout.yaxis, tickfont: { size: 10 } };
    if (made.yaxis.ticktext) made.yaxis.ticktext = made.yaxis.ticktext.map(cut);
    for (const name of axes(made)) {
      if (name.startsWith("x") && !made[name].tickvals) made[name] = { nticks: 5, tickangle: 0, ...made[name] };
    }
    return made;
  };

  const axes = (layout) => Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name));

  const styled = (given, printing) => {
    const colours = theme(printing);
    const small = narrow.matches && !printing;
    const layout = small ? narrowed(given) : given;
    const made = {
      ...layout,
      showlegend: false,
      ...(printing ? { width: PRINTED, autosize: false } : { autosize: true }),
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      bargap: 0.25,
      margin: { l: small ? 50 : 90, r: 12, t: layout.grid ? 28 : 12, b: 46 },
      font: { family: "system-ui, sans-serif", size: 12, color: colours.text },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { bgcolor: colours.hover, font: { color: colours.text }, namelength: -1 },
      xaxis: { ...layout.xaxis },
      yaxis: { ...layout.yaxis },
    };
    for (const name of axes(made)) {
      made[name] = { ...made[name], gridcolor: colours.grid, zerolinecolor: colours.grid, automargin: true };
    }
    return made;
  };

  const swatch = (trace) => {
    const found = trace.marker && typeof trace.marker.color === "string" ? trace.marker.color : trace.line && trace.line.color;
    const mark = document.createElement("span");
    const line = trace.type === "scatter" && trace.mode !== "markers";
    mark.className = line ? "swatch line" : "swatch";
    mark.style[line ? "borderTopColor" : "backgroundColor"] = found || "#6C6C6C";
    if (line && trace.line.dash && trace.line.dash !== "solid") mark.style.borderTopStyle = trace.line.dash === "dot" ? "dotted" : "dashed";
    return mark;
  };

  const recoloured = (figure, data) => {
    const named = data.filter((trace) => trace.showlegend !== false);
    figure.querySelectorAll(".legend button .swatch").forEach((mark, place) => mark.replaceWith(swatch(named[place])));
  };

  const legend = (figure, drawing, data, shows) => {
    if (!shows || figure.querySelector(".legend button")) return;
    data.forEach((trace, place) => {
      if (trace.showlegend === false) return;
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const name = document.createElement("span");
      name.textContent = plain(trace.name);
      button.append(swatch(trace), name);
      button.addEventListener("click", () => {
        const hidden = button.getAttribute("aria-pressed") === "true";
        button.setAttribute("aria-pressed", String(!hidden));
        const own = data.flatMap((each, at) => at === place || (trace.legendgroup && each.legendgroup === trace.legendgroup) ? [at] : []);
        Plotly.restyle(drawing, { visible: !hidden }, own);
      });
      figure.querySelector(".legend").append(button);
    });
  };

  const ranges = (figure, drawing) => {
    const buttons = [...figure.querySelectorAll(".ranges button")];
    for (const button of buttons) {
      button.addEventListener("click", () => {
        for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
        Plotly.relayout(drawing, { "xaxis.range": [Number(button.dataset.first), Number(button.dataset.last)] });
      });
    }
  };

  const draw = (figure) => {
    if (figures.has(figure)) return;
    const { data, layout, ranges: stretches } = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    if (stretches.length) layout.xaxis = { ...layout.xaxis, range: stretches[0].slice(1) };
    figures.set(figure, { data, layout });
    const drawing = figure.querySelector(".drawing");
    const made = styled(layout, false);
    drawing.style.height = `${made.height}px`;
    Plotly.newPlot(drawing, lit(data, false), made, config);
    // What Plotly measures texts with is no picture of anything.
    document.getElementById("js-plotly-tester").setAttribute("aria-hidden", "true");
    legend(figure, drawing, lit(data, false), layout.showlegend !== false);
    ranges(figure, drawing);
    figure.dataset.drawn = "true";
  };

  const redraw = (onPaper) => {
    for (const [figure, { data, layout }] of figures) {
      const drawing = figure.querySelector(".drawing");
      const made = styled(layout, onPaper);
      const shown = drawing.layout.xaxis.range;
      drawing.style.height = `${made.height}px`;
      if (shown) made.xaxis.range = [...shown];
      recoloured(figure, lit(data, onPaper));
      const hidden = drawing.data.map((trace) => trace.visible);
      Plotly.react(drawing, lit(data, onPaper).map((trace, place) => ({ ...trace, visible: hidden[place] })), made, config);
    }
  };

  const charts = [...document.querySelectorAll("figure.chart")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  charts.forEach((figure) => seen.observe(figure));

  // Printing changes what the queries say, too: what is drawn for paper stays so until it is printed.
  let printing = false;
  for (const query of [dark, narrow]) query.addEventListener("change", () => redraw(printing));
  addEventListener("beforeprint", () => { printing = true; charts.forEach(draw); redraw(printing); });
  addEventListener("afterprint", () => { printing = false; redraw(printing); });
})();
