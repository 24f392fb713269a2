// Mattes frames one by one with an ExecuTorch program of one size. The app needs org.pytorch:executorch-android.
//
//     val matting = ExecutorchMatting(path, 1280, 720, 0.375)
//     val (fgr, pha) = matting.matte(rgb)  // three planes and one plane, in [0, 1]

import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

private val CHANNELS = listOf(16, 20, 40, 64) // 16, 32, 64, 128 for ResNet50

class ExecutorchMatting(path: String, val width: Int, val height: Int, ratio: Double) : AutoCloseable {
    private val module = Module.load(path)
    private val shape = longArrayOf(1, 3, height.toLong(), width.toLong())
    private val stateShapes = CHANNELS.mapIndexed { k, channels ->
        val scale = 1 shl (k + 1)
        val inside = listOf(height, width).map { Math.round(it * ratio).toInt() }
        val (h, w) = inside.map { ((it + scale - 1) / scale).toLong() }
        longArrayOf(1, channels.toLong(), h, w)
    }
    private var states = zeros()

    /** Return foreground (3 planes) and alpha (1 plane) of a frame: RGB in three planes, in [0, 1]. */
    fun matte(rgb: FloatArray): Pair<FloatArray, FloatArray> {
        require(rgb.size == 3 * width * height) { "the frame has ${rgb.size} numbers, not 3 x $width x $height" }
        val inputs = listOf(Tensor.fromBlob(rgb, shape)) + states.zip(stateShapes) { data, of -> Tensor.fromBlob(data, of) }
        val outputs = module.forward(*inputs.map { EValue.from(it) }.toTypedArray())
        val (fgr, pha) = outputs.take(2).map { it.toTensor().dataAsFloatArray }
        states = outputs.drop(2).map { it.toTensor().dataAsFloatArray } // copies: the module keeps none of them
        return fgr to pha
    }

    /** Forget the frames before: call it at a cut and before another video. */
    fun reset() {
        states = zeros()
    }

    private fun zeros() = stateShapes.map { shape -> FloatArray(shape.reduce(Long::times).toInt()) }

    override fun close() = module.destroy()
}
