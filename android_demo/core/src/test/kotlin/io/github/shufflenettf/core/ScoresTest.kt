package io.github.shufflenettf.core

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.exp
import kotlin.random.Random

class ScoresTest {
    private fun scores(type: TensorType, scale: Float, zeroPoint: Int, bytes: ByteBuffer): Scores =
        Scores(Tensor("", type, intArrayOf(1, 3), scale, zeroPoint)).apply { read(bytes) }

    @Test
    fun `quantized values are dequantized`() {
        val bytes = ByteBuffer.wrap(byteArrayOf(0, 127, -1))
        assertArrayEquals(floatArrayOf(0f, 127 / 256f, 255 / 256f), scores(TensorType.UINT8, 1 / 256f, 0, bytes).probabilities)
        val shifted = scores(TensorType.INT8, 1 / 256f, -128, bytes)
        assertArrayEquals(floatArrayOf(.5f, 255 / 256f, 127 / 256f), shifted.probabilities)
    }

    @Test
    fun `values that are not probabilities are detected`() {
        fun plausible(vararg values: Float): Boolean {
            val bytes = ByteBuffer.allocate(12).order(ByteOrder.nativeOrder())
            values.forEachIndexed { i, value -> bytes.putFloat(4 * i, value) }
            return scores(TensorType.FLOAT32, 0f, 0, bytes).plausible
        }
        assertTrue(plausible(0f, 1f, 0f) && plausible(0.2f, 0.3f, 0.5f) && plausible(0f, 1.0005f, 0f))
        assertFalse(plausible(-0.1f, 1f, 0f) || plausible(0f, 2f, 0f))
        assertFalse(plausible(0f, 1f, Float.NaN) || plausible(Float.NaN, 1f, 0f))
    }

    @Test
    fun `top-k equals a stable sort`() {
        val random = Random(4)
        repeat(500) {
            val values = FloatArray(random.nextInt(1, 40)) { random.nextInt(6) / 5f } // with ties
            val threshold = random.nextInt(6) / 5f
            val k = random.nextInt(0, 6)
            val indices = IntArray(k)
            val selected = FloatArray(k)
            val count = TopK.select(values, threshold, indices, selected)
            val expected = values.indices.filter { values[it] >= threshold }.sortedBy { -values[it] }.take(k)
            assertEquals(expected, indices.take(count))
            assertEquals(expected.map { values[it] }, selected.take(count))
        }
    }

    @Test
    fun `smoothing is exponential in time, at any frame rate`() {
        val results = listOf(1, 10).map { frames ->
            val smoothing = Smoothing(1)
            smoothing.add(floatArrayOf(1f), 0, 200f)
            for (i in 1..frames) smoothing.add(floatArrayOf(0f), i * 100_000_000L / frames, 200f)
            smoothing.probabilities[0]
        }
        assertEquals(exp(-0.5f), results[0], 1e-6f)
        assertEquals(exp(-0.5f), results[1], 1e-6f)
    }

    @Test
    fun `smoothing can be reset and switched off, and keeps constant values`() {
        val smoothing = Smoothing(1)
        smoothing.add(floatArrayOf(0.3f), 0, 200f)
        smoothing.add(floatArrayOf(0.3f), 1_000_000, 200f)
        assertEquals(0.3f, smoothing.probabilities[0])
        smoothing.add(floatArrayOf(0.9f), 2_000_000, 0f)
        assertEquals(0.9f, smoothing.probabilities[0])
        smoothing.reset()
        smoothing.add(floatArrayOf(0.1f), 3_000_000, 200f)
        assertEquals(0.1f, smoothing.probabilities[0])
        smoothing.add(floatArrayOf(0.5f), 0, 200f) // an earlier time counts as now
        assertEquals(0.1f, smoothing.probabilities[0], 1e-6f)
    }

    @Test
    fun `statistics are averages over the window`() {
        val statistics = Statistics(window = 4)
        val averages = Averages()
        statistics.writeTo(averages)
        assertEquals(listOf(0f, 0f, 0f, 0f), averages.run { listOf(preparationMs, inferenceMs, totalMs, framesPerSecond) })
        for (i in 0L until 10) statistics.add(1_000_000 * i, 2_000_000, 5_000_000, 40_000_000 * i)
        statistics.writeTo(averages)
        assertEquals(listOf(7.5f, 2f, 5f, 25f), averages.run { listOf(preparationMs, inferenceMs, totalMs, framesPerSecond) })
        statistics.reset()
        statistics.add(1_000_000, 0, 0, 0)
        statistics.writeTo(averages)
        assertEquals(listOf(1f, 0f), averages.run { listOf(preparationMs, framesPerSecond) })
    }
}
