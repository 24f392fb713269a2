// Mattes a texture, frame by frame, with an ONNX file for any size. Unity 6 with Sentis 2 (Inference Engine).

using Unity.InferenceEngine;
using UnityEngine;

public class Matting : MonoBehaviour
{
    [SerializeField] ModelAsset model;
    [SerializeField] Texture source;
    [SerializeField] RenderTexture foreground, alpha;
    [SerializeField, Range(0.05f, 1)] float downsampleRatio = 0.375f;

    static readonly string[] Inputs = { "r1i", "r2i", "r3i", "r4i" };
    static readonly string[] Outputs = { "r1o", "r2o", "r3o", "r4o" };
    readonly Tensor[] states = new Tensor[4];
    Worker worker;
    Tensor<float> src, ratio;

    void OnEnable()
    {
        worker = new Worker(ModelLoader.Load(model), BackendType.GPUCompute);
        src = new Tensor<float>(new TensorShape(1, 3, source.height, source.width));
        ratio = new Tensor<float>(new TensorShape(1), new[] { downsampleRatio });
        Restart();
    }

    /// Call it before another clip, or after a cut.
    public void Restart()
    {
        for (int k = 0; k < states.Length; k++)
        {
            states[k]?.Dispose();
            states[k] = new Tensor<float>(new TensorShape(1, 1, 1, 1), new[] { 0f });
        }
    }

    void Update()
    {
        TextureConverter.ToTensor(source, src, new TextureTransform());
        worker.SetInput("src", src);
        worker.SetInput("downsample_ratio", ratio);
        for (int k = 0; k < states.Length; k++) worker.SetInput(Inputs[k], states[k]);
        worker.Schedule();
        TextureConverter.RenderToTexture(worker.PeekOutput("fgr") as Tensor<float>, foreground);
        TextureConverter.RenderToTexture(worker.PeekOutput("pha") as Tensor<float>, alpha);
        for (int k = 0; k < states.Length; k++)
        {
            // A copy: the worker overwrites its own outputs at the next frame.
            Tensor after = null;
            worker.CopyOutput(Outputs[k], ref after);
            states[k].Dispose();
            states[k] = after;
        }
    }

    void OnDisable()
    {
        worker.Dispose();
        src.Dispose();
        ratio.Dispose();
        for (int k = 0; k < states.Length; k++)
        {
            states[k].Dispose();
            states[k] = null;
        }
    }
}
