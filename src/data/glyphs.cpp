#include "data/glyphs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/portable_math.h"
#include "base/stream.h"
#include "data/builtin.h"

namespace spankey {

namespace {

constexpr std::size_t side = 28, glyph_pixels = side * side, digits = 10;

struct Point {
  float x, y;
};

// A smooth curve through its points, in a unit square with y downwards.
using Stroke = std::vector<Point>;
using Glyph = std::vector<Stroke>;

const std::array<std::vector<Glyph>, digits>& glyph_shapes() {
  // Per digit the ways people write it.
  static const std::array<std::vector<Glyph>, digits> shapes = {{
      {{{{.50f, .10f},
         {.28f, .22f},
         {.21f, .50f},
         {.28f, .78f},
         {.50f, .90f},
         {.72f, .78f},
         {.79f, .50f},
         {.72f, .22f},
         {.50f, .10f}}}},
      {{{{.50f, .10f}, {.50f, .90f}}},
       {{{.34f, .28f}, {.54f, .10f}}, {{.54f, .10f}, {.54f, .90f}}},
       {{{.34f, .28f}, {.52f, .10f}}, {{.52f, .10f}, {.52f, .90f}}, {{.32f, .90f}, {.72f, .90f}}}},
      {{{{.25f, .30f},
         {.33f, .15f},
         {.52f, .10f},
         {.70f, .19f},
         {.72f, .36f},
         {.58f, .56f},
         {.40f, .73f},
         {.24f, .90f}},
        {{.24f, .90f}, {.78f, .90f}}},
       {{{.26f, .26f},
         {.44f, .10f},
         {.66f, .16f},
         {.70f, .36f},
         {.54f, .60f},
         {.34f, .82f},
         {.26f, .88f},
         {.30f, .76f},
         {.48f, .80f},
         {.78f, .88f}}}},
      {{{{.26f, .18f}, {.45f, .10f}, {.66f, .16f}, {.70f, .31f}, {.60f, .44f}, {.43f, .48f}},
        {{.43f, .48f}, {.64f, .53f}, {.75f, .68f}, {.67f, .84f}, {.47f, .90f}, {.25f, .82f}}},
       {{{.26f, .10f}, {.72f, .10f}},
        {{.72f, .10f}, {.46f, .42f}},
        {{.46f, .42f}, {.66f, .50f}, {.75f, .67f}, {.66f, .84f}, {.46f, .90f}, {.25f, .82f}}}},
      {{{{.60f, .10f}, {.22f, .64f}}, {{.22f, .64f}, {.82f, .64f}}, {{.62f, .10f}, {.62f, .90f}}},
       {{{.32f, .10f}, {.26f, .34f}, {.28f, .52f}},
        {{.28f, .52f}, {.50f, .54f}, {.72f, .50f}},
        {{.72f, .12f}, {.70f, .50f}, {.66f, .90f}}}},
      {{{{.72f, .10f}, {.33f, .10f}},
        {{.33f, .10f}, {.29f, .46f}},
        {{.29f, .46f}, {.48f, .40f}, {.68f, .48f}, {.75f, .66f}, {.66f, .84f}, {.46f, .90f}, {.25f, .82f}}}},
      {{{{.66f, .12f},
         {.45f, .22f},
         {.31f, .42f},
         {.26f, .65f},
         {.34f, .84f},
         {.52f, .90f},
         {.70f, .82f},
         {.74f, .66f},
         {.64f, .51f},
         {.46f, .49f},
         {.29f, .62f}}}},
      {{{{.22f, .10f}, {.78f, .10f}}, {{.78f, .10f}, {.60f, .42f}, {.46f, .90f}}},
       {{{.22f, .10f}, {.78f, .10f}}, {{.78f, .10f}, {.60f, .42f}, {.46f, .90f}}, {{.36f, .50f}, {.74f, .50f}}}},
      {{{{.50f, .47f},
         {.32f, .36f},
         {.33f, .18f},
         {.50f, .10f},
         {.68f, .18f},
         {.68f, .36f},
         {.50f, .47f},
         {.29f, .60f},
         {.27f, .79f},
         {.50f, .90f},
         {.74f, .79f},
         {.72f, .60f},
         {.50f, .47f}}}},
      {{{{.71f, .38f},
         {.54f, .51f},
         {.36f, .49f},
         {.26f, .34f},
         {.30f, .18f},
         {.48f, .10f},
         {.66f, .16f},
         {.74f, .35f},
         {.69f, .58f},
         {.55f, .78f},
         {.34f, .88f}}},
       {{{.71f, .36f},
         {.54f, .50f},
         {.36f, .48f},
         {.27f, .32f},
         {.34f, .16f},
         {.52f, .10f},
         {.70f, .20f},
         {.72f, .36f}},
        {{.72f, .36f}, {.70f, .90f}}}},
  }};
  return shapes;
}

// The jitter of one image, drawn in the order of the calls.
class Draws {
 public:
  Draws(std::uint32_t split, std::uint64_t sample)
      : stream_({.purpose = Purpose::glyphs, .sample = sample, .layer = split}) {}
  float between(float low, float high) { return low + (high - low) * stream_.uniform(next_++); }
  std::size_t below(std::size_t bound) {
    return std::min(bound - 1, static_cast<std::size_t>(between(0.0f, static_cast<float>(bound))));
  }
  std::uint32_t word() { return stream_.word(next_++); }

 private:
  Stream stream_;
  std::uint64_t next_ = 0;
};

struct Segment {
  Point from, to;
};

// A Catmull-Rom curve, which passes through every point. An end point serves as its own missing neighbour.
void flatten(const Stroke& stroke, std::vector<Segment>& segments) {
  constexpr int pieces = 4;
  const bool straight = stroke.size() == 2;
  Point last = stroke.front();
  for (std::size_t i = 0; i + 1 < stroke.size(); ++i) {
    const Point a = stroke[i == 0 ? 0 : i - 1], b = stroke[i], c = stroke[i + 1];
    const Point d = stroke[std::min(i + 2, stroke.size() - 1)];
    for (int k = 1; k <= (straight ? 1 : pieces); ++k) {
      const float t = straight ? 1.0f : static_cast<float>(k) / pieces;
      const auto blend = [t](float p, float q, float r, float s) {
        return 0.5f * (2 * q + t * ((r - p) + t * ((2 * p - 5 * q + 4 * r - s) + t * (3 * (q - r) + s - p))));
      };
      const Point next{blend(a.x, b.x, c.x, d.x), blend(a.y, b.y, c.y, d.y)};
      segments.push_back({last, next});
      last = next;
    }
  }
}

// Rotation, slant, size and shift, which map the unit square to glyph_pixels.
struct Frame {
  float xx, xy, yx, yy, x0, y0;

  explicit Frame(Draws& draws) {
    constexpr float turn_degrees = 14.0f, slant = 0.25f, smallest = 16.0f, largest = 23.0f, most_shift = 2.5f;
    float sine, cosine;
    portable::sincos_2pi(draws.between(-turn_degrees, turn_degrees) / 360.0f, sine, cosine);
    const float shear = draws.between(-slant, slant);
    const float width = draws.between(smallest, largest), height = draws.between(smallest, largest);
    xx = cosine * width;
    xy = (cosine * shear - sine) * height;
    yx = sine * width;
    yy = (sine * shear + cosine) * height;
    x0 = static_cast<float>(side) / 2 + draws.between(-most_shift, most_shift);
    y0 = static_cast<float>(side) / 2 + draws.between(-most_shift, most_shift);
  }
  Point operator()(Point p) const {
    const float x = p.x - 0.5f, y = p.y - 0.5f;
    return {xx * x + xy * y + x0, yx * x + yy * y + y0};
  }
};

// The glyph_pixels whose centres lie between two coordinates, widened outwards.
struct PixelRange {
  std::size_t begin, end;

  PixelRange(float low, float high) {
    const float last = static_cast<float>(side);
    begin = static_cast<std::size_t>(std::clamp(low, 0.0f, last));
    end = static_cast<std::size_t>(std::clamp(high + 1.0f, 0.0f, last));
  }
};

// Squared distance of every pixel centre to the nearest segment where that is within `reach`. Elsewhere it may be
// larger than the true distance.
void measure_distances(const std::vector<Segment>& segments, float reach, std::array<float, glyph_pixels>& square) {
  square.fill(1e9f);
  for (const Segment& s : segments) {
    const float dx = s.to.x - s.from.x, dy = s.to.y - s.from.y;
    const float inverse = 1.0f / std::max(dx * dx + dy * dy, 1e-6f);
    const PixelRange rows(std::min(s.from.y, s.to.y) - reach, std::max(s.from.y, s.to.y) + reach);
    const PixelRange columns(std::min(s.from.x, s.to.x) - reach, std::max(s.from.x, s.to.x) + reach);
    for (std::size_t row = rows.begin; row < rows.end; ++row) {
      const float py = static_cast<float>(row) + 0.5f - s.from.y;
      float* out = square.data() + row * side;
      for (std::size_t column = columns.begin; column < columns.end; ++column) {
        const float px = static_cast<float>(static_cast<int>(column)) + 0.5f - s.from.x;
        const float t = std::clamp((px * dx + py * dy) * inverse, 0.0f, 1.0f);
        const float ex = px - t * dx, ey = py - t * dy;
        out[column] = std::min(out[column], ex * ex + ey * ey);
      }
    }
  }
}

void draw_image(std::size_t digit, Draws& draws, std::uint8_t* out) {
  constexpr float most_bend = 0.04f, thinnest = 0.9f, thickest = 2.1f, faintest = 150.0f;
  const auto& ways = glyph_shapes()[digit];
  Glyph glyph = ways[draws.below(ways.size())];
  const Frame frame(draws);
  std::vector<Segment> segments;
  for (Stroke& stroke : glyph) {
    for (Point& p : stroke) {
      p = frame({p.x + draws.between(-most_bend, most_bend), p.y + draws.between(-most_bend, most_bend)});
    }
    flatten(stroke, segments);
  }
  const float radius = draws.between(thinnest, thickest), ink = draws.between(faintest, 255.0f);
  std::array<float, glyph_pixels> square;
  measure_distances(segments, radius + 0.5f, square);

  // One word of noise for four glyph_pixels.
  const float noise = draws.between(0.0f, 40.0f) / 255.0f;
  for (std::size_t i = 0; i < glyph_pixels; i += 4) {
    const std::uint32_t word = draws.word();
    for (std::size_t k = 0; k < 4; ++k) {
      const float coverage = std::clamp(radius + 0.5f - std::sqrt(square[i + k]), 0.0f, 1.0f);
      const auto grain = static_cast<float>(static_cast<int>(word >> (8 * k) & 255u) - 128);
      const float value = std::clamp(coverage * ink + noise * grain, 0.0f, 255.0f);
      out[i + k] = static_cast<std::uint8_t>(value + 0.5f);
    }
  }
}

SplitContent make_split(std::uint32_t split, std::int64_t count) {
  SplitContent content;
  content.images.resize(static_cast<std::size_t>(count) * glyph_pixels);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    Draws draws(split, i);
    const std::size_t digit = i % digits;
    draw_image(digit, draws, content.images.data() + i * glyph_pixels);
    content.labels.push_back(static_cast<std::int64_t>(digit));
  }
  return content;
}

}  // namespace

DatasetContent make_glyphs(std::int64_t train, std::int64_t test) {
  if (train < 1 || test < 1)
    fail_input("glyphs: {} train and {} test images asked for; accepted: 1 or more", train, test);
  DatasetContent content;
  content.sample_shape = {1, static_cast<std::int64_t>(side), static_cast<std::int64_t>(side)};
  for (std::size_t digit = 0; digit < digits; ++digit) content.class_names.push_back(std::to_string(digit));
  content.source = "glyphs: digits rendered from stroke outlines, version 1";
  content.train = make_split(0, train);
  content.test = make_split(1, test);
  return content;
}

DatasetContent make_builtin_glyphs() {
  return make_glyphs(4096, 1024);
}

void render_glyphs(std::int64_t train, std::int64_t test, const std::filesystem::path& out) {
  Dataset::in_memory(make_glyphs(train, test))->save(out);
}

}  // namespace spankey
