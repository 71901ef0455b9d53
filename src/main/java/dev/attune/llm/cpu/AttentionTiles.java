package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.PANEL;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import jdk.incubator.vector.FloatVector;

/**
 * The inner products of attention for one panel of query rows, rows in the lanes. {@code queries} and {@code output}
 * are {@code [headSize][PANEL]}, {@code weights} is {@code [token][PANEL]}, {@code rows} is {@code [token][headSize]}.
 *
 * <p>Twelve accumulators, two rows of queries and a broadcast fill the sixteen registers of AVX2 and hide the latency
 * of its two multiply-adds a cycle; a third query vector would spill (measured: 1.7 times slower). Methods of one
 * vector are for panels whose rows fit into it. Every lane sums in the same order in all of them.
 */
final class AttentionTiles {

  private AttentionTiles() {}

  /** {@code weights[t] = rows[t] . queries} for {@code count} tokens; up to seven rows more are read and written. */
  static void logits(float[] queries, float[] rows, float[] weights, int count, int headSize, boolean oneVector) {
    int token = 0;
    if (oneVector) {
      for (; token < count; token += 8) {
        logits8(queries, rows, weights, token, headSize);
      }
      return;
    }
    for (; count - token > 4; token += 6) {
      logits6(queries, rows, weights, token, headSize);
    }
    if (token < count) {
      logits4(queries, rows, weights, token, headSize);
    }
  }

  /** {@code output += sum over t of rows[t] * weights[t]}. */
  static void values(float[] output, float[] rows, float[] weights, int count, int headSize, boolean oneVector) {
    if (oneVector) {
      for (int d = 0; d < headSize; d += 8) {
        values8(output, rows, weights, d, count, headSize);
      }
    } else {
      for (int d = 0; d < headSize; d += 4) {
        values4(output, rows, weights, d, count, headSize);
      }
    }
  }

  private static void logits6(float[] queries, float[] rows, float[] weights, int token, int headSize) {
    int k0 = token * headSize;
    int k1 = k0 + headSize;
    int k2 = k1 + headSize;
    int k3 = k2 + headSize;
    int k4 = k3 + headSize;
    int k5 = k4 + headSize;
    FloatVector s00 = FloatVector.zero(FLOATS);
    FloatVector s01 = s00;
    FloatVector s10 = s00;
    FloatVector s11 = s00;
    FloatVector s20 = s00;
    FloatVector s21 = s00;
    FloatVector s30 = s00;
    FloatVector s31 = s00;
    FloatVector s40 = s00;
    FloatVector s41 = s00;
    FloatVector s50 = s00;
    FloatVector s51 = s00;
    for (int d = 0; d < headSize; d++) {
      FloatVector q0 = FloatVector.fromArray(FLOATS, queries, d * PANEL);
      FloatVector q1 = FloatVector.fromArray(FLOATS, queries, d * PANEL + WIDTH);
      FloatVector k = FloatVector.broadcast(FLOATS, rows[k0 + d]);
      s00 = k.fma(q0, s00);
      s01 = k.fma(q1, s01);
      k = FloatVector.broadcast(FLOATS, rows[k1 + d]);
      s10 = k.fma(q0, s10);
      s11 = k.fma(q1, s11);
      k = FloatVector.broadcast(FLOATS, rows[k2 + d]);
      s20 = k.fma(q0, s20);
      s21 = k.fma(q1, s21);
      k = FloatVector.broadcast(FLOATS, rows[k3 + d]);
      s30 = k.fma(q0, s30);
      s31 = k.fma(q1, s31);
      k = FloatVector.broadcast(FLOATS, rows[k4 + d]);
      s40 = k.fma(q0, s40);
      s41 = k.fma(q1, s41);
      k = FloatVector.broadcast(FLOATS, rows[k5 + d]);
      s50 = k.fma(q0, s50);
      s51 = k.fma(q1, s51);
    }
    int at = token * PANEL;
    s00.intoArray(weights, at);
    s01.intoArray(weights, at + WIDTH);
    s10.intoArray(weights, at + PANEL);
    s11.intoArray(weights, at + PANEL + WIDTH);
    s20.intoArray(weights, at + 2 * PANEL);
    s21.intoArray(weights, at + 2 * PANEL + WIDTH);
    s30.intoArray(weights, at + 3 * PANEL);
    s31.intoArray(weights, at + 3 * PANEL + WIDTH);
    s40.intoArray(weights, at + 4 * PANEL);
    s41.intoArray(weights, at + 4 * PANEL + WIDTH);
    s50.intoArray(weights, at + 5 * PANEL);
    s51.intoArray(weights, at + 5 * PANEL + WIDTH);
  }

  private static void logits4(float[] queries, float[] rows, float[] weights, int token, int headSize) {
    int k0 = token * headSize;
    int k1 = k0 + headSize;
    int k2 = k1 + headSize;
    int k3 = k2 + headSize;
    FloatVector s00 = FloatVector.zero(FLOATS);
    FloatVector s01 = s00;
    FloatVector s10 = s00;
    FloatVector s11 = s00;
    FloatVector s20 = s00;
    FloatVector s21 = s00;
    FloatVector s30 = s00;
    FloatVector s31 = s00;
    for (int d = 0; d < headSize; d++) {
      FloatVector q0 = FloatVector.fromArray(FLOATS, queries, d * PANEL);
      FloatVector q1 = FloatVector.fromArray(FLOATS, queries, d * PANEL + WIDTH);
      FloatVector k = FloatVector.broadcast(FLOATS, rows[k0 + d]);
      s00 = k.fma(q0, s00);
      s01 = k.fma(q1, s01);
      k = FloatVector.broadcast(FLOATS, rows[k1 + d]);
      s10 = k.fma(q0, s10);
      s11 = k.fma(q1, s11);
      k = FloatVector.broadcast(FLOATS, rows[k2 + d]);
      s20 = k.fma(q0, s20);
      s21 = k.fma(q1, s21);
      k = FloatVector.broadcast(FLOATS, rows[k3 + d]);
      s30 = k.fma(q0, s30);
      s31 = k.fma(q1, s31);
    }
    int at = token * PANEL;
    s00.intoArray(weights, at);
    s01.intoArray(weights, at + WIDTH);
    s10.intoArray(weights, at + PANEL);
    s11.intoArray(weights, at + PANEL + WIDTH);
    s20.intoArray(weights, at + 2 * PANEL);
    s21.intoArray(weights, at + 2 * PANEL + WIDTH);
    s30.intoArray(weights, at + 3 * PANEL);
    s31.intoArray(weights, at + 3 * PANEL + WIDTH);
  }

  private static void logits8(float[] queries, float[] rows, float[] weights, int token, int headSize) {
    int k0 = token * headSize;
    int k1 = k0 + headSize;
    int k2 = k1 + headSize;
    int k3 = k2 + headSize;
    int k4 = k3 + headSize;
    int k5 = k4 + headSize;
    int k6 = k5 + headSize;
    int k7 = k6 + headSize;
    FloatVector s0 = FloatVector.zero(FLOATS);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    FloatVector s4 = s0;
    FloatVector s5 = s0;
    FloatVector s6 = s0;
    FloatVector s7 = s0;
    for (int d = 0; d < headSize; d++) {
      FloatVector q = FloatVector.fromArray(FLOATS, queries, d * PANEL);
      s0 = FloatVector.broadcast(FLOATS, rows[k0 + d]).fma(q, s0);
      s1 = FloatVector.broadcast(FLOATS, rows[k1 + d]).fma(q, s1);
      s2 = FloatVector.broadcast(FLOATS, rows[k2 + d]).fma(q, s2);
      s3 = FloatVector.broadcast(FLOATS, rows[k3 + d]).fma(q, s3);
      s4 = FloatVector.broadcast(FLOATS, rows[k4 + d]).fma(q, s4);
      s5 = FloatVector.broadcast(FLOATS, rows[k5 + d]).fma(q, s5);
      s6 = FloatVector.broadcast(FLOATS, rows[k6 + d]).fma(q, s6);
      s7 = FloatVector.broadcast(FLOATS, rows[k7 + d]).fma(q, s7);
    }
    int at = token * PANEL;
    s0.intoArray(weights, at);
    s1.intoArray(weights, at + PANEL);
    s2.intoArray(weights, at + 2 * PANEL);
    s3.intoArray(weights, at + 3 * PANEL);
    s4.intoArray(weights, at + 4 * PANEL);
    s5.intoArray(weights, at + 5 * PANEL);
    s6.intoArray(weights, at + 6 * PANEL);
    s7.intoArray(weights, at + 7 * PANEL);
  }

  private static void values4(float[] output, float[] rows, float[] weights, int d, int count, int headSize) {
    int at = d * PANEL;
    FloatVector s00 = FloatVector.fromArray(FLOATS, output, at);
    FloatVector s01 = FloatVector.fromArray(FLOATS, output, at + WIDTH);
    FloatVector s10 = FloatVector.fromArray(FLOATS, output, at + PANEL);
    FloatVector s11 = FloatVector.fromArray(FLOATS, output, at + PANEL + WIDTH);
    FloatVector s20 = FloatVector.fromArray(FLOATS, output, at + 2 * PANEL);
    FloatVector s21 = FloatVector.fromArray(FLOATS, output, at + 2 * PANEL + WIDTH);
    FloatVector s30 = FloatVector.fromArray(FLOATS, output, at + 3 * PANEL);
    FloatVector s31 = FloatVector.fromArray(FLOATS, output, at + 3 * PANEL + WIDTH);
    int v = d;
    for (int token = 0; token < count; token++) {
      FloatVector w0 = FloatVector.fromArray(FLOATS, weights, token * PANEL);
      FloatVector w1 = FloatVector.fromArray(FLOATS, weights, token * PANEL + WIDTH);
      FloatVector x = FloatVector.broadcast(FLOATS, rows[v]);
      s00 = x.fma(w0, s00);
      s01 = x.fma(w1, s01);
      x = FloatVector.broadcast(FLOATS, rows[v + 1]);
      s10 = x.fma(w0, s10);
      s11 = x.fma(w1, s11);
      x = FloatVector.broadcast(FLOATS, rows[v + 2]);
      s20 = x.fma(w0, s20);
      s21 = x.fma(w1, s21);
      x = FloatVector.broadcast(FLOATS, rows[v + 3]);
      s30 = x.fma(w0, s30);
      s31 = x.fma(w1, s31);
      v += headSize;
    }
    s00.intoArray(output, at);
    s01.intoArray(output, at + WIDTH);
    s10.intoArray(output, at + PANEL);
    s11.intoArray(output, at + PANEL + WIDTH);
    s20.intoArray(output, at + 2 * PANEL);
    s21.intoArray(output, at + 2 * PANEL + WIDTH);
    s30.intoArray(output, at + 3 * PANEL);
    s31.intoArray(output, at + 3 * PANEL + WIDTH);
  }

  private static void values8(float[] output, float[] rows, float[] weights, int d, int count, int headSize) {
    int at = d * PANEL;
    FloatVector s0 = FloatVector.fromArray(FLOATS, output, at);
    FloatVector s1 = FloatVector.fromArray(FLOATS, output, at + PANEL);
    FloatVector s2 = FloatVector.fromArray(FLOATS, output, at + 2 * PANEL);
    FloatVector s3 = FloatVector.fromArray(FLOATS, output, at + 3 * PANEL);
    FloatVector s4 = FloatVector.fromArray(FLOATS, output, at + 4 * PANEL);
    FloatVector s5 = FloatVector.fromArray(FLOATS, output, at + 5 * PANEL);
    FloatVector s6 = FloatVector.fromArray(FLOATS, output, at + 6 * PANEL);
    FloatVector s7 = FloatVector.fromArray(FLOATS, output, at + 7 * PANEL);
    int v = d;
    for (int token = 0; token < count; token++) {
      FloatVector w = FloatVector.fromArray(FLOATS, weights, token * PANEL);
      s0 = FloatVector.broadcast(FLOATS, rows[v]).fma(w, s0);
      s1 = FloatVector.broadcast(FLOATS, rows[v + 1]).fma(w, s1);
      s2 = FloatVector.broadcast(FLOATS, rows[v + 2]).fma(w, s2);
      s3 = FloatVector.broadcast(FLOATS, rows[v + 3]).fma(w, s3);
      s4 = FloatVector.broadcast(FLOATS, rows[v + 4]).fma(w, s4);
      s5 = FloatVector.broadcast(FLOATS, rows[v + 5]).fma(w, s5);
      s6 = FloatVector.broadcast(FLOATS, rows[v + 6]).fma(w, s6);
      s7 = FloatVector.broadcast(FLOATS, rows[v + 7]).fma(w, s7);
      v += headSize;
    }
    s0.intoArray(output, at);
    s1.intoArray(output, at + PANEL);
    s2.intoArray(output, at + 2 * PANEL);
    s3.intoArray(output, at + 3 * PANEL);
    s4.intoArray(output, at + 4 * PANEL);
    s5.intoArray(output, at + 5 * PANEL);
    s6.intoArray(output, at + 6 * PANEL);
    s7.intoArray(output, at + 7 * PANEL);
  }
}
