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

  // The darkest of the colours is hard to see on a dark ground as a thin line.
  const lit = (data, printing) => printing || !dark.matches ? data : JSON.parse(JSON.stringify(data).replaceAll("#0072B2", "#4AA3DF"));

  const axes = (layout) => Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name));

  const styled = (layout, printing) => {
    const colours = theme(printing);
    const made = {
      ...layout,
      showlegend: false,
      autosize: true,
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      bargap: 0.25,
      margin: { l: narrow.matches ? 70 : 90, r: 12, t: 12, b: 46 },
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
    mark.className = "swatch";
    mark.style.backgroundColor = found || "#8C8C8C";
    return mark;
  };

  const legend = (figure, drawing, data, shows) => {
    if (!shows || figure.querySelector(".legend button")) return;
    data.forEach((trace, place) => {
      if (trace.showlegend === false) return;
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const name = document.createElement("span");
      name.textContent = new DOMParser().parseFromString(trace.name, "text/html").documentElement.textContent;
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
    drawing.style.height = `${layout.height}px`;
    Plotly.newPlot(drawing, lit(data, false), styled(layout, false), config);
    legend(figure, drawing, data, layout.showlegend !== false);
    ranges(figure, drawing);
    figure.dataset.drawn = "true";
  };

  const recolour = (printing) => {
    for (const [figure, { data, layout }] of figures) {
      const drawing = figure.querySelector(".drawing");
      const made = styled(layout, printing);
      const shown = drawing.layout.xaxis.range;
      if (shown) made.xaxis.range = [...shown];
      const hidden = drawing.data.map((trace) => trace.visible);
      Plotly.react(drawing, lit(data, printing).map((trace, place) => ({ ...trace, visible: hidden[place] })), made, config);
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

  dark.addEventListener("change", () => recolour(false));
  addEventListener("beforeprint", () => { charts.forEach(draw); recolour(true); });
  addEventListener("afterprint", () => recolour(false));
})();
